/* Two int8 arrays into a third, element by element, and an array with slopes of its own. */
#ifndef PAIRS_INT8_H
#define PAIRS_INT8_H

#include "base.h"

/* value × multiplier × 2^(shift - 31), after the zero point is taken off. */
struct rescale {
    int32_t zero;
    int32_t multiplier;
    int shift;
};

/* What both operands are shifted by before they are brought to one scale. */
enum { HEADROOM = 20 };

/* Onto the scale that both operands share: their multipliers are at most 1/2. */
INLINE int32_t on_common_scale(int32_t stored, struct rescale of)
{
    return divide_by_power(doubling_high((stored - of.zero) * (1 << HEADROOM), of.multiplier),
                           -of.shift);
}

/* ADD with a sign of 1, SUB with -1. Steps are 1, or 0 for an operand that is repeated. */
KERNEL void sum_int8(const int8_t *x, const int8_t *y, int8_t *out, int n, int x_step, int y_step,
                     int32_t sign, struct rescale of_x, struct rescale of_y,
                     struct rescale of_out, int32_t low, int32_t high)
{
    for (int i = 0; i < n; i++) {
        int32_t sum = on_common_scale(x[i * x_step], of_x) +
                      sign * on_common_scale(y[i * y_step], of_y);
        int32_t value = divide_by_power(doubling_high_saturating(sum, of_out.multiplier),
                                        -of_out.shift);
        out[i] = (int8_t)clamp(value + of_out.zero, low, high);
    }
}

KERNEL void mul_int8(const int8_t *x, const int8_t *y, int8_t *out, int n, int x_step, int y_step,
                     int32_t x_zero, int32_t y_zero, struct rescale of_out, int32_t low,
                     int32_t high)
{
    for (int i = 0; i < n; i++) {
        int32_t product = (x[i * x_step] - x_zero) * (y[i * y_step] - y_zero);
        int32_t value = requantize(product, of_out.multiplier, of_out.shift) + of_out.zero;
        out[i] = (int8_t)clamp(value, low, high);
    }
}

/* positive: scales an input that is not below zero; negative: its product with the slope. */
KERNEL void prelu_int8(const int8_t *in, const int8_t *slope, int8_t *out, int n, int step,
                       int slope_step, int32_t in_zero, int32_t slope_zero,
                       struct rescale positive, struct rescale negative)
{
    for (int i = 0; i < n; i++) {
        int32_t value = in[i * step] - in_zero;
        value = value >= 0
                    ? requantize(value, positive.multiplier, positive.shift)
                    : requantize(value * (slope[i * slope_step] - slope_zero),
                                 negative.multiplier, negative.shift);
        out[i] = (int8_t)clamp(value + positive.zero, -128, 127);
    }
}

#endif
