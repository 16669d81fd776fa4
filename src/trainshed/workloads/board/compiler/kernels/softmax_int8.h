/* Softmax, int8, in the reference's fixed point: 5 integer bits of differences, 12 of sums. */
#ifndef SOFTMAX_INT8_H
#define SOFTMAX_INT8_H

#include "base.h"

enum { DIFFERENCE_BITS = 5, SUM_BITS = 12, EXP_FRACTION = 31 - DIFFERENCE_BITS };

/* value × 2^n, saturating. */
INLINE int32_t multiply_by_power(int32_t value, int n)
{
    int32_t limit = (1 << (31 - n)) - 1;
    if (value > limit)
        return INT32_MAX;
    return value < -limit ? INT32_MIN : shift_left(value, n);
}

/* exp of a value in (-1/4, 0], with 31 fractional bits: a polynomial around -1/8. */
INLINE int32_t exp_near_zero(int32_t value)
{
    const int32_t exp_of_eighth = 1895147668, third = 715827883;
    int32_t x = value + (1 << 28);
    int32_t x2 = doubling_high_saturating(x, x);
    int32_t x3 = doubling_high_saturating(x2, x);
    int32_t x4 = doubling_high_saturating(x2, x2);
    int32_t rest = divide_by_power(
        doubling_high_saturating(divide_by_power(x4, 2) + x3, third) + x2, 1);
    return exp_of_eighth + doubling_high_saturating(exp_of_eighth, x + rest);
}

/* exp of a value ≤ 0 with 26 fractional bits; the result has 31. */
static __attribute__((noinline)) int32_t exp_of_negative(int32_t value)
{
    /* exp(-2^k) for k from -2 on */
    static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};
    const int quarter = EXP_FRACTION - 2;
    int32_t part = (value & ((1 << quarter) - 1)) - (1 << quarter);
    int32_t rest = part - value;
    int32_t result = exp_near_zero(shift_left(part, DIFFERENCE_BITS));
    for (int k = 0; k < 7; k++)
        if (rest & (1 << (quarter + k)))
            result = doubling_high_saturating(result, powers[k]);
    return value == 0 ? INT32_MAX : result;
}

/* 1 / (1 + value) for a value in [0, 1] with 31 fractional bits: three steps of Newton's method. */
INLINE int32_t one_over_one_plus(int32_t value)
{
    const int32_t start = 1515870810, slope = -1010580540; /* 48/17 and -32/17, 29 bits */
    int64_t sum = (int64_t)value + INT32_MAX;
    int32_t half = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
    int32_t x = start + doubling_high_saturating(half, slope);
    for (int i = 0; i < 3; i++) {
        int32_t miss = (1 << 29) - doubling_high_saturating(half, x);
        x += multiply_by_power(doubling_high_saturating(x, miss), 2);
    }
    return multiply_by_power(x, 1);
}

/* Differences below least count as nothing. */
KERNEL void softmax_int8(const int8_t *in, int8_t *out, int n_rows, int n, int32_t multiplier,
                         int shift, int32_t least)
{
    for (int row = 0; row < n_rows; row++, in += n, out += n) {
        int32_t largest = -128, sum = 0;
        for (int i = 0; i < n; i++)
            largest = max_of(largest, in[i]);
        for (int i = 0; i < n; i++) {
            int32_t less = in[i] - largest;
            if (less >= least)
                sum += divide_by_power(exp_of_negative(doubling_high_saturating(
                                           shift_left(less, shift), multiplier)),
                                       SUM_BITS);
        }
        int headroom = __builtin_clz((unsigned)sum);
        int32_t inverse = one_over_one_plus(
            (int32_t)(((uint32_t)sum << headroom) - (1u << 31)));
        int right = SUM_BITS - headroom + 31 - 8;
        for (int i = 0; i < n; i++) {
            int32_t less = in[i] - largest, value = -128;
            if (less >= least) {
                int32_t power = exp_of_negative(
                    doubling_high_saturating(shift_left(less, shift), multiplier));
                value = divide_by_power(doubling_high_saturating(inverse, power), right) - 128;
            }
            out[i] = (int8_t)max_of(min_of(value, 127), -128);
        }
    }
}

#endif
