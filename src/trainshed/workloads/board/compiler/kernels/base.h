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

/* Four bytes from any address. */
INLINE uint32_t load_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, 4);
    return word;
}

INLINE void store_word(void *to, uint32_t word) { memcpy(to, &word, 4); }

#if HAS_DSP
/* Bytes 0 and 2 (even), or 1 and 3 (odd), as two signed 16-bit halves. */
INLINE uint32_t even_bytes(uint32_t word)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
}

INLINE uint32_t odd_bytes(uint32_t word)
{
    uint32_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

/* sum + the products of both halves. */
INLINE int32_t multiply_halves(uint32_t a, uint32_t b, int32_t sum)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

/* sum + the product of the low halves; of the high half of a and the low half of b. */
INLINE int32_t multiply_low(uint32_t a, uint32_t b, int32_t sum)
{
    __asm__("smlabb %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

INLINE int32_t multiply_high_low(uint32_t a, uint32_t b, int32_t sum)
{
    __asm__("smlatb %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

/* The low halves of both; the high halves of both. */
INLINE uint32_t low_halves(uint32_t a, uint32_t b)
{
    uint32_t both;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(both) : "r"(a), "r"(b));
    return both;
}

INLINE uint32_t high_halves(uint32_t a, uint32_t b)
{
    uint32_t both;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(both) : "r"(a), "r"(b));
    return both;
}
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

/*
 * The same for a sum below 2^30 and a shift to the right by 1 or more, then the zero point and the
 * clamp. shift is one less than the shift to the right: half away from zero is the floor of
 * value + half (less one where the value is negative), and a floor may be taken in two steps.
 */
INLINE int32_t scale_down(int32_t sum, int32_t multiplier, int32_t shift, int32_t zero, int32_t low,
                          int32_t high)
{
#if HAS_DSP
    int32_t value;
    __asm__("smmulr %0, %1, %2" : "=r"(value) : "r"(sum << 1), "r"(multiplier));
#else
    int32_t value = doubling_high(sum, multiplier);
#endif
    value += value >> 31;
    value = (value >> shift) + (1 + 2 * zero);
    return clamp(value >> 1, low, high);
}

/*
 * One output channel: its sum's start, multiplier and shift. Where all channels of a layer shift to
 * the right (all_right) the table holds what scale_down wants.
 */
struct channel {
    int32_t bias;
    int32_t multiplier;
    int32_t shift;
};

INLINE int8_t finish(int32_t sum, const struct channel *channel, int all_right, int32_t zero,
                     int32_t low, int32_t high)
{
    if (all_right)
        return (int8_t)scale_down(sum, channel->multiplier, channel->shift, zero, low, high);
    return (int8_t)clamp(requantize(sum, channel->multiplier, channel->shift) + zero, low, high);
}

#endif
