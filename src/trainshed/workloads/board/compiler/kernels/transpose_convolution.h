/* Transposed convolution: each output gathers the inputs that reach it, so that no accumulator
 * of the whole image is needed. The inputs come in the order in which the reference scatters. */
#ifndef TRANSPOSE_CONVOLUTION_H
#define TRANSPOSE_CONVOLUTION_H

#include "base.h"
#include "float32.h"

struct transposed {
    int height, width, channels, out_height, out_width, out_channels;
    int filter_height, filter_width, stride_y, stride_x, top, left;
};

/* The first input that reaches an output, and one past the last. */
INLINE int first_reaching(int at, int before, int size, int stride)
{
    int reached = at + before - size + 1;
    return reached <= 0 ? 0 : (reached + stride - 1) / stride;
}

INLINE int last_reaching(int at, int before, int stride, int n)
{
    return min_of((at + before) / stride + 1, n);
}

/* One output channel at (y, x): the sum over inputs; TYPE and SUM as the layer's arithmetic. */
#define GATHER(TYPE, SUM, ZERO)                                                                  \
    SUM sum = 0;                                                                                 \
    for (int in_y = first_reaching(y, t.top, t.filter_height, t.stride_y);                       \
         in_y < last_reaching(y, t.top, t.stride_y, t.height); in_y++)                           \
        for (int in_x = first_reaching(x, t.left, t.filter_width, t.stride_x);                   \
             in_x < last_reaching(x, t.left, t.stride_x, t.width); in_x++) {                     \
            const TYPE *from = in + (in_y * t.width + in_x) * t.channels;                        \
            int row = y + t.top - in_y * t.stride_y, column = x + t.left - in_x * t.stride_x;    \
            const TYPE *by = filter + (row * t.filter_width + column) * t.channels;              \
            for (int c = 0; c < t.channels; c++)                                                 \
                sum += (from[c] - (ZERO)) * by[c];                                               \
        }

INLINE int32_t gather_int8(const int8_t *in, const int8_t *filter, int y, int x, int32_t zero,
                           struct transposed t)
{
    GATHER(int8_t, int32_t, zero)
    return sum;
}

INLINE float gather_f32(const float *in, const float *filter, int y, int x, struct transposed t)
{
    GATHER(float, float, 0.0f)
    return sum;
}

/* scales: for each output channel its bias, multiplier and shift. */
KERNEL void transpose_convolve_int8(const int8_t *in, const int8_t *weights, const int32_t *scales,
                                    int8_t *out, struct transposed t, int32_t zero_in,
                                    int32_t zero_out, int32_t low, int32_t high)
{
    int filter = t.filter_height * t.filter_width * t.channels;
    for (int y = 0; y < t.out_height; y++)
        for (int x = 0; x < t.out_width; x++)
            for (int k = 0; k < t.out_channels; k++) {
                const int32_t *scale = scales + 3 * k;
                int32_t sum = gather_int8(in, weights + k * filter, y, x, zero_in, t) + scale[0];
                int32_t value = requantize(sum, scale[1], (int)scale[2]) + zero_out;
                *out++ = (int8_t)clamp(value, low, high);
            }
}

KERNEL void transpose_convolve_f32(const float *in, const float *weights, const float *bias,
                                   float *out, struct transposed t, float low, float high)
{
    int filter = t.filter_height * t.filter_width * t.channels;
    for (int y = 0; y < t.out_height; y++)
        for (int x = 0; x < t.out_width; x++)
            for (int k = 0; k < t.out_channels; k++) {
                float sum = gather_f32(in, weights + k * filter, y, x, t) + bias[k];
                *out++ = clamp_f32(sum, low, high);
            }
}

#endif
