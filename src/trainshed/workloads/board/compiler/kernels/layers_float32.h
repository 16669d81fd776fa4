/* Convolution, matrix product and pooling of float32, each sum in the reference's order. */
#ifndef LAYERS_FLOAT32_H
#define LAYERS_FLOAT32_H

#include "float32.h"

/* groups: runs of input channels, each with its own output channels. */
struct convolution_f32 {
    int height, width, channels, out_height, out_width, out_channels;
    int filter_height, filter_width, stride_y, stride_x, dilation_y, dilation_x, top, left;
    int groups;
};

/* The filter's rows or columns that lie inside the image, for one that begins at `at`. */
INLINE int first_inside(int at, int dilation)
{
    return at >= 0 ? 0 : (dilation - 1 - at) / dilation;
}

INLINE int last_inside(int at, int dilation, int size, int n)
{
    return at >= n ? 0 : min_of((n - 1 - at) / dilation + 1, size);
}

/* Four filters at one pixel (or one, when n is 1): the sums are independent, their order is not
 * touched. `filter` floats lie between two filters. */
INLINE void dot_f32(const float *in, const float *by, int filter, int n, int length, float *sums)
{
    if (n == 4) {
        float a = sums[0], b = sums[1], c = sums[2], d = sums[3];
        for (int i = 0; i < length; i++) {
            float value = in[i];
            a += value * by[i];
            b += value * by[i + filter];
            c += value * by[i + 2 * filter];
            d += value * by[i + 3 * filter];
        }
        sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
        return;
    }
    for (int i = 0; i < length; i++)
        sums[0] += in[i] * by[i];
}

INLINE void pixel_f32(const float *in, const float *weights, const float *bias, float *out, int y,
                      int x, int n, struct convolution_f32 s, float low, float high)
{
    int depth = s.channels / s.groups, row = s.filter_width * depth;
    int first = first_inside(x, s.dilation_x);
    int last = last_inside(x, s.dilation_x, s.filter_width, s.width);
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = first_inside(y, s.dilation_y);
         i < last_inside(y, s.dilation_y, s.filter_height, s.height); i++) {
        const float *line = in + (y + i * s.dilation_y) * s.width * s.channels;
        for (int k = first; k < last; k++)
            dot_f32(line + (x + k * s.dilation_x) * s.channels, weights + i * row + k * depth,
                    s.filter_height * row, n, depth, sums);
    }
    for (int i = 0; i < n; i++)
        out[i] = clamp_f32(sums[i] + bias[i], low, high);
}

KERNEL void convolve_f32(const float *in, const float *weights, const float *bias, float *out,
                         struct convolution_f32 s, float low, float high)
{
    int filter = s.filter_height * s.filter_width * (s.channels / s.groups);
    int per_group = s.out_channels / s.groups;
    for (int out_y = 0; out_y < s.out_height; out_y++)
        for (int out_x = 0; out_x < s.out_width; out_x++, out += s.out_channels)
            for (int g = 0; g < s.groups; g++) {
                const float *from = in + g * (s.channels / s.groups);
                int y = out_y * s.stride_y - s.top, x = out_x * s.stride_x - s.left;
                int k = g * per_group, end = k + per_group;
                for (; k + 4 <= end; k += 4)
                    pixel_f32(from, weights + k * filter, bias + k, out + k, y, x, 4, s, low, high);
                for (; k < end; k++)
                    pixel_f32(from, weights + k * filter, bias + k, out + k, y, x, 1, s, low, high);
            }
}

KERNEL void multiply_f32(const float *in, const float *weights, const float *bias, float *out,
                         int n_rows, int n_in, int n_out, float low, float high)
{
    for (int row = 0; row < n_rows; row++, in += n_in, out += n_out) {
        int k = 0;
        for (; k + 4 <= n_out; k += 4) {
            float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            dot_f32(in, weights + k * n_in, n_in, 4, n_in, sums);
            for (int i = 0; i < 4; i++)
                out[k + i] = clamp_f32(sums[i] + bias[k + i], low, high);
        }
        for (; k < n_out; k++) {
            float sum = 0.0f;
            dot_f32(in, weights + k * n_in, n_in, 1, n_in, &sum);
            out[k] = clamp_f32(sum + bias[k], low, high);
        }
    }
}

/* The weights of a pixel's channels lie side by side; `groups` is not used. */
KERNEL void depthwise_f32(const float *in, const float *weights, const float *bias, float *out,
                          struct convolution_f32 s, float low, float high)
{
    int multiplier = s.out_channels / s.channels;
    for (int out_y = 0; out_y < s.out_height; out_y++)
        for (int out_x = 0; out_x < s.out_width; out_x++, out += s.out_channels) {
            int y = out_y * s.stride_y - s.top, x = out_x * s.stride_x - s.left;
            int first = first_inside(x, s.dilation_x);
            int last = last_inside(x, s.dilation_x, s.filter_width, s.width);
            for (int k = 0; k < s.out_channels; k++) {
                float sum = 0.0f;
                for (int i = first_inside(y, s.dilation_y);
                     i < last_inside(y, s.dilation_y, s.filter_height, s.height); i++)
                    for (int j = first; j < last; j++)
                        sum += in[((y + i * s.dilation_y) * s.width + x + j * s.dilation_x) *
                                      s.channels + k / multiplier] *
                               weights[(i * s.filter_width + j) * s.out_channels + k];
                out[k] = clamp_f32(sum + bias[k], low, high);
            }
        }
}

struct pooling_f32 {
    int height, width, channels, out_height, out_width;
    int filter_height, filter_width, stride_y, stride_x, top, left;
};

KERNEL void pool_f32(const float *in, float *out, int average, struct pooling_f32 p, float low,
                     float high)
{
    for (int out_y = 0; out_y < p.out_height; out_y++)
        for (int out_x = 0; out_x < p.out_width; out_x++) {
            int y = out_y * p.stride_y - p.top, x = out_x * p.stride_x - p.left;
            int first_y = max_of(y, 0), last_y = min_of(y + p.filter_height, p.height);
            int first_x = max_of(x, 0), last_x = min_of(x + p.filter_width, p.width);
            float n = (float)((last_y - first_y) * (last_x - first_x));
            for (int c = 0; c < p.channels; c++) {
                float value = average ? 0.0f : -FLT_MAX;
                for (int i = first_y; i < last_y; i++)
                    for (int k = first_x; k < last_x; k++) {
                        float one = in[(i * p.width + k) * p.channels + c];
                        value = average ? value + one : value < one ? one : value;
                    }
                *out++ = clamp_f32(average ? value / n : value, low, high);
            }
        }
}

#endif
