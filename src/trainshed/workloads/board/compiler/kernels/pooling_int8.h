/* Average and maximum of a window, int8, without a change of scale. */
#ifndef POOLING_INT8_H
#define POOLING_INT8_H

#include "base.h"

struct pooling {
    int height, width, channels, out_height, out_width;
    int filter_height, filter_width, stride_y, stride_x, top, left, low, high;
};

/* Half away from zero. */
INLINE int32_t mean_of(int32_t sum, int32_t n)
{
    return (sum > 0 ? sum + n / 2 : sum - n / 2) / n;
}

KERNEL void pool_int8(const int8_t *in, int8_t *out, int average, struct pooling p)
{
    for (int out_y = 0; out_y < p.out_height; out_y++)
        for (int out_x = 0; out_x < p.out_width; out_x++) {
            int y = out_y * p.stride_y - p.top, x = out_x * p.stride_x - p.left;
            int first_y = max_of(y, 0), last_y = min_of(y + p.filter_height, p.height);
            int first_x = max_of(x, 0), last_x = min_of(x + p.filter_width, p.width);
            int n = (last_y - first_y) * (last_x - first_x);
            const int8_t *corner = in + (first_y * p.width + first_x) * p.channels;
            for (int c = 0; c < p.channels; c++) {
                int32_t value = average ? 0 : -128;
                const int8_t *row = corner + c;
                for (int i = first_y; i < last_y; i++, row += p.width * p.channels)
                    for (int k = 0; k < last_x - first_x; k++) {
                        int32_t one = row[k * p.channels];
                        value = average ? value + one : max_of(value, one);
                    }
                *out++ = (int8_t)clamp(average ? mean_of(value, n) : value, p.low, p.high);
            }
        }
}

#endif
