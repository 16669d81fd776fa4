/* Float32 arithmetic in the reference's order, so that each result has the same bits.
 * Built without contraction: a fused multiply-add would round once where the reference rounds
 * twice. Only the exponential and the hyperbolic tangent come from the C library. */
#ifndef FLOAT32_H
#define FLOAT32_H

#include <float.h>
#include <math.h>

#include "base.h"

/* Like the reference: a NaN stays, an infinity is clamped to the largest number. */
INLINE float clamp_f32(float value, float low, float high)
{
    value = value < low ? low : value;
    return high < value ? high : value;
}

KERNEL void clamp_row_f32(const float *in, float *out, int n, float low, float high)
{
    for (int i = 0; i < n; i++)
        out[i] = clamp_f32(in[i], low, high);
}

KERNEL void leaky_relu_f32(const float *in, float *out, int n, float alpha)
{
    for (int i = 0; i < n; i++)
        out[i] = in[i] > 0.0f ? in[i] : in[i] * alpha;
}

KERNEL void prelu_f32(const float *in, const float *alpha, float *out, int n, int step,
                      int alpha_step)
{
    for (int i = 0; i < n; i++) {
        float value = in[i * step];
        out[i] = value >= 0.0f ? value : value * alpha[i * alpha_step];
    }
}

KERNEL void hard_swish_f32(const float *in, float *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = in[i] * clamp_f32(in[i] + 3.0f, 0.0f, 6.0f) / 6.0f;
}

/* Where exp overflows or 1 + exp(x) is exp(x), the reference does without the division. */
KERNEL void logistic_f32(const float *in, float *out, int n)
{
    for (int i = 0; i < n; i++) {
        float value = in[i];
        if (value > 16.619047164916992188f)
            out[i] = 1.0f;
        else if (value < -9.0f)
            out[i] = expf(value);
        else
            out[i] = 1.0f / (1.0f + expf(-value));
    }
}

KERNEL void tanh_f32(const float *in, float *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = tanhf(in[i]);
}

/* Steps are 1, or 0 for an operand that is repeated. */
KERNEL void add_f32(const float *x, const float *y, float *out, int n, int x_step, int y_step,
                    float low, float high)
{
    for (int i = 0; i < n; i++)
        out[i] = clamp_f32(x[i * x_step] + y[i * y_step], low, high);
}

KERNEL void sub_f32(const float *x, const float *y, float *out, int n, int x_step, int y_step,
                    float low, float high)
{
    for (int i = 0; i < n; i++)
        out[i] = clamp_f32(x[i * x_step] - y[i * y_step], low, high);
}

KERNEL void mul_f32(const float *x, const float *y, float *out, int n, int x_step, int y_step,
                    float low, float high)
{
    for (int i = 0; i < n; i++)
        out[i] = clamp_f32(x[i * x_step] * y[i * y_step], low, high);
}

KERNEL void softmax_f32(const float *in, float *out, int n_rows, int n, float beta)
{
    for (int row = 0; row < n_rows; row++, in += n, out += n) {
        float peak = -FLT_MAX, sum = 0.0f;
        for (int i = 0; i < n; i++)
            peak = peak < in[i] ? in[i] : peak;
        for (int i = 0; i < n; i++) {
            out[i] = expf((in[i] - peak) * beta);
            sum += out[i];
        }
        for (int i = 0; i < n; i++)
            out[i] = out[i] / sum;
    }
}

KERNEL void quantize_f32(const float *in, int8_t *out, int n, float scale, int32_t zero)
{
    for (int i = 0; i < n; i++)
        out[i] = (int8_t)clamp((int32_t)roundf(in[i] / scale) + zero, -128, 127);
}

#endif
