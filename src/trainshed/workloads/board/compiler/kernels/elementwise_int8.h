/* Arithmetic of two int8 values of different scales. */
#ifndef ELEMENTWISE_INT8_H
#define ELEMENTWISE_INT8_H

#include "base.h"

enum { SUM_SHIFT = 20 };

/* A value without its zero point, on the common scale of a sum. shift ≤ 0. */
INLINE int32_t on_common_scale(int32_t value, int32_t multiplier, int shift)
{
    return divide_by_power(doubling_high(value * (1 << SUM_SHIFT), multiplier), -shift);
}

/* A sum (or difference) back on the scale of the output. shift ≤ 0. */
INLINE int8_t from_common_scale(int32_t sum, int32_t multiplier, int shift, int32_t zero,
                                int32_t low, int32_t high)
{
    int32_t value = divide_by_power(doubling_high_saturating(sum, multiplier), -shift);
    return (int8_t)clamp(value + zero, low, high);
}

#endif
