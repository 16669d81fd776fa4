/*
 * Depthwise convolution, int8: each channel of the input is copied into a plane of its own, padded,
 * so that a filter runs along rows with its weights in registers.
 *
 * The planes hold as many rows as rows of the output are made at a time (a strip). The zero point of
 * the input is in the biases already, so padding is filled with the zero point.
 */
#ifndef DEPTHWISE_INT8_H
#define DEPTHWISE_INT8_H

#include "base.h"

/* strip: rows of the output at a time; multiplier: output channels of an input channel. */
struct depthwise {
    int height, width, channels, out_height, out_width, multiplier;
    int filter_height, filter_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
    int strip, plane_width, plane_height;
    int zero_in, zero_out, low, high, all_right;
};

#if HAS_DSP
typedef int16_t plane_t;
#else
typedef int8_t plane_t;
#endif

/* Channels that are copied at a time: those of a word. */
#define LANES 4

/* One row of n channels (at most LANES) into their planes. */
INLINE void spread_row(plane_t *to, const int8_t *from, int n, const struct depthwise *d)
{
    int plane = d->plane_width * d->plane_height, x = 0;
#if HAS_DSP
    if (n == LANES) {
        for (; x + 2 <= d->width; x += 2) {
            uint32_t one = load_word(from), two = load_word(from + d->channels);
            uint32_t e1 = even_bytes(one), o1 = odd_bytes(one);
            uint32_t e2 = even_bytes(two), o2 = odd_bytes(two);
            store_word(to + x, low_halves(e1, e2));
            store_word(to + plane + x, low_halves(o1, o2));
            store_word(to + 2 * plane + x, high_halves(e1, e2));
            store_word(to + 3 * plane + x, high_halves(o1, o2));
            from += 2 * d->channels;
        }
    }
#endif
    for (; x < d->width; x++, from += d->channels)
        for (int k = 0; k < n; k++)
            to[k * plane + x] = from[k];
}

INLINE void fill_row(plane_t *to, int first, int last, int zero)
{
    for (int x = first; x < last; x++)
        to[x] = (plane_t)zero;
}

/* The rows that a strip sees, from row y of the input on. */
INLINE void spread(plane_t *planes, const int8_t *in, int y, int n, const struct depthwise *d)
{
    int plane = d->plane_width * d->plane_height;
    for (int row = 0; row < d->plane_height; row++, y++) {
        plane_t *to = planes + row * d->plane_width;
        int inside = y >= 0 && y < d->height;
        int first = inside ? d->left : 0, last = inside ? d->left + d->width : 0;
        for (int k = 0; k < n; k++) {
            fill_row(to + k * plane, 0, first, d->zero_in);
            fill_row(to + k * plane, last, d->plane_width, d->zero_in);
        }
        if (inside)
            spread_row(to + d->left, in + y * d->width * d->channels, n, d);
    }
}

INLINE int8_t depthwise_finish(int32_t sum, const struct channel *channel,
                               const struct depthwise *d)
{
    return finish(sum, channel, d->all_right, d->zero_out, d->low, d->high);
}

/* Any filter. */
INLINE void filter_any(const plane_t *plane, const int8_t *weights, const struct channel *channel,
                       int8_t *out, int rows, const struct depthwise *d)
{
    int step = d->channels * d->multiplier;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < d->out_width; x++, out += step) {
            const plane_t *from = plane + y * d->stride_y * d->plane_width + x * d->stride_x;
            int32_t sum = channel->bias;
            for (int i = 0; i < d->filter_height; i++)
                for (int k = 0; k < d->filter_width; k++)
                    sum += from[i * d->dilation_y * d->plane_width + k * d->dilation_x] *
                           weights[i * d->filter_width + k];
            *out = depthwise_finish(sum, channel, d);
        }
}

#if HAS_DSP
/* 3 × 3, not dilated, stride 1 or 2 to the right: two outputs at a time. */
INLINE void filter_3x3(const plane_t *plane, const int8_t *weights, const struct channel *channel,
                       int8_t *out, int rows, const struct depthwise *d)
{
    int step = d->channels * d->multiplier;
    uint32_t w01[3], w12[3];
    struct channel kept = *channel;
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        uint32_t middle = (uint32_t)weights[3 * i + 1];
        w01[i] = low_halves((uint32_t)weights[3 * i], middle);
        w12[i] = low_halves(middle, (uint32_t)weights[3 * i + 2]);
    }
    for (int y = 0; y < rows; y++) {
        const plane_t *from = plane + y * d->stride_y * d->plane_width;
        int x = d->out_width;
        for (; x >= 2; x -= 2) {
            int32_t one = kept.bias, two = kept.bias;
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                const plane_t *row = from + i * d->plane_width;
                uint32_t p01 = load_word(row), p23 = load_word(row + 2);
                one = multiply_halves(p01, w01[i], one);
                one = multiply_high_low(w12[i], p23, one);
                if (d->stride_x == 1) {
                    two = multiply_high_low(p01, w01[i], two);
                    two = multiply_halves(p23, w12[i], two);
                } else {
                    two = multiply_halves(p23, w01[i], two);
                    two = multiply_high_low(w12[i], (uint32_t)row[4], two);
                }
            }
            out[0] = depthwise_finish(one, &kept, d);
            out[step] = depthwise_finish(two, &kept, d);
            out += 2 * step;
            from += 2 * d->stride_x;
        }
        if (x) {
            int32_t one = kept.bias;
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                const plane_t *row = from + i * d->plane_width;
                one = multiply_halves(load_word(row), w01[i], one);
                one = multiply_high_low(w12[i], (uint32_t)row[2], one);
            }
            *out = depthwise_finish(one, &kept, d);
            out += step;
        }
    }
}
#endif

INLINE void filter(const plane_t *plane, const int8_t *weights, const struct channel *channel,
                   int8_t *out, int rows, const struct depthwise *d)
{
#if HAS_DSP
    if (d->filter_height == 3 && d->filter_width == 3 && d->stride_x <= 2 && d->dilation_x == 1 &&
        d->dilation_y == 1) {
        filter_3x3(plane, weights, channel, out, rows, d);
        return;
    }
#endif
    filter_any(plane, weights, channel, out, rows, d);
}

/* The strip's rows of n input channels; channel is the first of them. */
INLINE void depthwise_lanes(const int8_t *in, const int8_t *weights,
                            const struct channel *channels, int8_t *out, plane_t *planes, int n,
                            int y, int rows, const struct depthwise *d)
{
    int plane = d->plane_width * d->plane_height, size = d->filter_height * d->filter_width;
    spread(planes, in, y * d->stride_y - d->top, n, d);
    out += y * d->out_width * d->channels * d->multiplier;
    for (int k = 0; k < n; k++)
        for (int m = 0; m < d->multiplier; m++)
            filter(planes + k * plane, weights + (k * d->multiplier + m) * size,
                   channels + k * d->multiplier + m, out + k * d->multiplier + m, rows, d);
}

/* weights: of each output channel, row by row. */
KERNEL void depthwise_int8(const int8_t *in, const int8_t *weights, const struct channel *channels,
                           int8_t *out, plane_t *planes, struct depthwise d)
{
    int size = d.filter_height * d.filter_width * d.multiplier;
    for (int y = 0; y < d.out_height; y += d.strip) {
        int rows = min_of(d.strip, d.out_height - y), c = 0;
        for (; c + LANES <= d.channels; c += LANES)
            depthwise_lanes(in + c, weights + c * size, channels + c * d.multiplier,
                            out + c * d.multiplier, planes, LANES, y, rows, &d);
        for (; c < d.channels; c++)
            depthwise_lanes(in + c, weights + c * size, channels + c * d.multiplier,
                            out + c * d.multiplier, planes, 1, y, rows, &d);
    }
}

#endif
