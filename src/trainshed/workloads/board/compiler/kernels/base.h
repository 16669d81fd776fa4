/* What all kernels share: words, rounding, requantisation. */
#ifndef BASE_H
#define BASE_H

#include <stdint.h>
#include <string.h>

/* Kernels are inlined into the layer's function, so that its literals specialise them. */
#define KERNEL static inline __attribute__((always_inline))
#define INLINE static inline __attribute__((always_inline))

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#define HAS_DSP 1
#else
#define HAS_DSP 0
#endif

INLINE int32_t max_of(int32_t a, int32_t b) { return a > b ? a : b; }
INLINE int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }

INLINE int32_t clamp(int32_t value, int32_t low, int32_t high)
{
#if HAS_DSP
    if (low == -128 && high == 127)
        return __builtin_arm_ssat(value, 8);
#endif
    return max_of(min_of(value, high), low);
}

/* Shifts to the left that drop bits instead of being undefined. */
INLINE int32_t shift_left(int32_t value, int n) { return (int32_t)((uint32_t)value << n); }

/* (2ab + 2^31) / 2^32, rounded as the reference does; only MIN × MIN does not fit. */
INLINE int32_t doubling_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

INLINE int32_t doubling_high_saturating(int32_t a, int32_t b)
{
    return a == b && a == INT32_MIN ? INT32_MAX : doubling_high(a, b);
}

/* value / 2^n, halves away from zero. */
INLINE int32_t divide_by_power(int32_t value, int n)
{
    int32_t mask = (int32_t)((1u << n) - 1);
    int32_t threshold = (mask >> 1) + (value < 0);
    return (value >> n) + ((value & mask) > threshold);
}

/* value × multiplier × 2^(shift - 31); a positive shift goes to the left. */
INLINE int32_t requantize(int32_t value, int32_t multiplier, int shift)
{
    int left = shift > 0 ? shift : 0;
    int right = shift > 0 ? 0 : -shift;
    return divide_by_power(
        doubling_high_saturating(shift_left(value, left), multiplier), right);
}

#endif
