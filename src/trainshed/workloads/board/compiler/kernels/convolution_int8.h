/*
 * Convolution and matrix product, int8: two columns of inputs by four output channels at a time.
 *
 * A column is what one output pixel sees, row of the filter by row. The zero point of the input is
 * in the biases already (bias - zero × sum of weights), so padding is filled with the zero point.
 * The weights lie in the order in which they are read; compiler/packing.py puts them there.
 */
#ifndef CONVOLUTION_INT8_H
#define CONVOLUTION_INT8_H

#include "base.h"

/*
 * Sizes are in elements. group_in, group_out: channels of one group. What lies together in the input
 * is gathered together: a row of the filter, or one pixel where it is dilated or grouped.
 */
struct convolution {
    int height, width, channels, out_height, out_width, out_channels;
    int filter_height, filter_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
    int groups, group_in, group_out;
    int zero_in, zero_out, low, high, all_right;
};

#if HAS_DSP
/* Halves go in pairs: per four bytes (0,2) (1,3), a rest of two (0,1), of one (0,-). */
typedef uint32_t column_t;
#define PAIRS(n) (((n) / 4) * 2 + ((n) % 4 + 1) / 2)

INLINE column_t *widen(column_t *to, const int8_t *from, int n)
{
#pragma GCC unroll 2
    for (int i = n / 4; i; i--) {
        uint32_t word = load_word(from);
        from += 4;
        *to++ = even_bytes(word);
        *to++ = odd_bytes(word);
    }
    if (n % 4 == 3) {
        *to++ = low_halves((uint32_t)from[0], (uint32_t)from[2]);
        *to++ = (uint32_t)(int32_t)from[1];
    } else if (n % 4 == 2)
        *to++ = low_halves((uint32_t)from[0], (uint32_t)from[1]);
    else if (n % 4 == 1)
        *to++ = (uint32_t)(int32_t)from[0];
    return to;
}

INLINE column_t *widen_zero(column_t *to, int zero, int n)
{
    uint32_t both = low_halves((uint32_t)zero, (uint32_t)zero);
    for (int i = PAIRS(n); i; i--)
        *to++ = both;
    return to;
}

/* One unit of a column, by n_channels (4 or 2) and n_columns (2 or 1); sums is [channel][column]. */
INLINE void unit(const int8_t *weights, uint32_t x, uint32_t y, int n_channels, int n_columns,
                 int32_t *sums)
{
    for (int k = 0; k < n_channels; k += 2) {
        uint32_t word = load_word(__builtin_assume_aligned(weights + 2 * k, 4));
        uint32_t even = even_bytes(word), odd = odd_bytes(word);
        sums[2 * k] = multiply_halves(even, x, sums[2 * k]);
        sums[2 * k + 2] = multiply_halves(odd, x, sums[2 * k + 2]);
        if (n_columns == 2) {
            sums[2 * k + 1] = multiply_halves(even, y, sums[2 * k + 1]);
            sums[2 * k + 3] = multiply_halves(odd, y, sums[2 * k + 3]);
        }
    }
}

#define UNROLLED 4

/* All n units; returns where the next channels' weights begin. */
INLINE const int8_t *multiply(const int8_t *weights, const column_t *column, int n, int n_channels,
                              int n_columns, int32_t *sums)
{
    int step = 2 * n_channels;
    const column_t *end = column + n / UNROLLED * UNROLLED;
    while (column != end) {
#pragma GCC unroll 4
        for (int k = 0; k < UNROLLED; k++)
            unit(weights + k * step, column[k], column[n_columns == 2 ? n + k : k], n_channels,
                 n_columns, sums);
        column += UNROLLED;
        weights += UNROLLED * step;
    }
#pragma GCC unroll 4
    for (int k = 0; k < n % UNROLLED; k++)
        unit(weights + k * step, column[k], column[n_columns == 2 ? n + k : k], n_channels,
             n_columns, sums);
    return weights + n % UNROLLED * step;
}
#define BLOCK 4
#define SMALL_BLOCK 2
#else
typedef int8_t column_t;

INLINE column_t *widen(column_t *to, const int8_t *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = from[i];
    return to + n;
}

INLINE column_t *widen_zero(column_t *to, int zero, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = (int8_t)zero;
    return to + n;
}

/* Two channels, one after the other, by one or two columns. */
#if defined(__ARM_ARCH_6M__)
/* Written out: the compiler does not keep the four pointers, one index and four sums in registers. */
INLINE const int8_t *multiply(const int8_t *weights, const column_t *column, int n, int n_channels,
                              int n_columns, int32_t *sums)
{
    int32_t a0 = sums[0], b0 = sums[2], a1 = sums[1], b1 = sums[3];
    int32_t i = n - 1, one, two, three;
    (void)n_channels;
    if (n_columns == 2)
        __asm__(".syntax unified\n"
                "1: ldrsb %[one], [%[a], %[i]]\n"
                "ldrsb %[two], [%[x], %[i]]\n"
                "movs %[three], %[one]\n"
                "muls %[three], %[two]\n"
                "add %[a0], %[three]\n"
                "ldrsb %[three], [%[y], %[i]]\n"
                "muls %[one], %[three]\n"
                "add %[a1], %[one]\n"
                "ldrsb %[one], [%[b], %[i]]\n"
                "muls %[two], %[one]\n"
                "add %[b0], %[two]\n"
                "muls %[three], %[one]\n"
                "add %[b1], %[three]\n"
                "subs %[i], #1\n"
                "bpl 1b"
                : [i] "+l"(i), [one] "=&l"(one), [two] "=&l"(two), [three] "=&l"(three),
                  [a0] "+h"(a0), [a1] "+h"(a1), [b0] "+h"(b0), [b1] "+h"(b1)
                : [a] "l"(weights), [b] "l"(weights + n), [x] "l"(column), [y] "l"(column + n)
                : "cc", "memory");
    else
        for (; i >= 0; i--) {
            a0 += weights[i] * column[i];
            b0 += weights[n + i] * column[i];
        }
    sums[0] = a0, sums[2] = b0, sums[1] = a1, sums[3] = b1;
    return weights + 2 * n;
}
#else
INLINE const int8_t *multiply(const int8_t *weights, const column_t *column, int n, int n_channels,
                              int n_columns, int32_t *sums)
{
    int32_t a0 = sums[0], b0 = sums[2], a1 = sums[1], b1 = sums[3];
    (void)n_channels;
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        int32_t a = weights[i], b = weights[n + i];
        a0 += a * column[i];
        b0 += b * column[i];
        if (n_columns == 2) {
            a1 += a * column[n + i];
            b1 += b * column[n + i];
        }
    }
    sums[0] = a0, sums[2] = b0, sums[1] = a1, sums[3] = b1;
    return weights + 2 * n;
}
#endif
#define BLOCK 2
#define SMALL_BLOCK 2
#endif

INLINE const int8_t *block(const int8_t *weights, const column_t *columns, int n, int n_channels,
                           int n_stored, int n_columns, const struct channel *channel,
                           int8_t *out, const struct convolution *c)
{
    int32_t sums[8] = {0};
    for (int k = 0; k < n_stored; k++)
        sums[2 * k] = sums[2 * k + 1] = channel[k].bias;
    weights = multiply(weights, columns, n, n_channels, n_columns, sums);
    for (int k = 0; k < n_stored; k++) {
        out[k] = finish(sums[2 * k], channel + k, c->all_right, c->zero_out, c->low, c->high);
        if (n_columns == 2)
            out[c->out_channels + k] =
                finish(sums[2 * k + 1], channel + k, c->all_right, c->zero_out, c->low, c->high);
    }
    return weights;
}

/* All output channels of a group for one or two columns. */
INLINE void product(const int8_t *weights, const column_t *columns, int n, int n_columns,
                    const struct channel *channel, int8_t *out, const struct convolution *c)
{
    const struct channel *end = channel + c->group_out / BLOCK * BLOCK;
    while (channel < end) {
        weights = block(weights, columns, n, BLOCK, BLOCK, n_columns, channel, out, c);
        channel += BLOCK;
        out += BLOCK;
    }
    if (c->group_out % BLOCK >= SMALL_BLOCK) {
        weights = block(weights, columns, n, SMALL_BLOCK, SMALL_BLOCK, n_columns, channel, out, c);
        channel += SMALL_BLOCK;
        out += SMALL_BLOCK;
    }
    if (c->group_out % SMALL_BLOCK)
        block(weights, columns, n, SMALL_BLOCK, 1, n_columns, channel, out, c);
}

/* One row of the filter that lies in the image, where part of it may be left or right of it. */
INLINE column_t *gather_row(column_t *to, const int8_t *row, int x, int8_t *edge,
                            const struct convolution *c)
{
    if (c->dilation_x > 1 || c->groups > 1) {
        for (int k = 0; k < c->filter_width; k++, x += c->dilation_x)
            to = x < 0 || x >= c->width ? widen_zero(to, c->zero_in, c->group_in)
                                        : widen(to, row + x * c->channels, c->group_in);
        return to;
    }
    int n = c->filter_width * c->channels;
    if (x >= 0 && x + c->filter_width <= c->width)
        return widen(to, row + x * c->channels, n);
    int first = max_of(x, 0), last = min_of(x + c->filter_width, c->width);
    memset(edge, c->zero_in, (unsigned)n);
    if (last > first)
        memcpy(edge + (first - x) * c->channels, row + first * c->channels,
               (unsigned)((last - first) * c->channels));
    return widen(to, edge, n);
}

INLINE column_t *gather(column_t *to, const int8_t *in, int out_y, int out_x, int8_t *edge,
                        const struct convolution *c)
{
    int y = out_y * c->stride_y - c->top, x = out_x * c->stride_x - c->left;
    if (c->filter_height == 1 && c->filter_width == 1)
        return widen(to, in + (y * c->width + x) * c->channels, c->group_in);
    for (int k = 0; k < c->filter_height; k++, y += c->dilation_y) {
        if (y >= 0 && y < c->height)
            to = gather_row(to, in + y * c->width * c->channels, x, edge, c);
        else if (c->dilation_x > 1 || c->groups > 1)
            for (int i = 0; i < c->filter_width; i++)
                to = widen_zero(to, c->zero_in, c->group_in);
        else
            to = widen_zero(to, c->zero_in, c->filter_width * c->channels);
    }
    return to;
}

/*
 * n: units of a column: pairs of halves, or bytes. scratch: two columns (one where there
 * is one pixel), then a row of the filter in bytes.
 */
KERNEL void convolve_int8(const int8_t *in, const int8_t *weights, const struct channel *channels,
                          int8_t *out, column_t *scratch, int n, int group_weights,
                          struct convolution c)
{
    int8_t *edge = (int8_t *)(scratch + min_of(2, c.out_height * c.out_width) * n);
    for (int group = 0; group < c.groups; group++) {
        const int8_t *from = in + group * c.group_in;
        int8_t *to = out + group * c.group_out;
        int waiting = 0;
        for (int y = 0; y < c.out_height; y++)
            for (int x = 0; x < c.out_width; x++) {
                gather(scratch + (waiting ? n : 0), from, y, x, edge, &c);
                waiting = !waiting;
                if (waiting)
                    continue;
                product(weights, scratch, n, 2, channels, to, &c);
                to += 2 * c.out_channels;
            }
        if (waiting)
            product(weights, scratch, n, 1, channels, to, &c);
        weights += group_weights;
        channels += c.group_out;
    }
}

#endif
