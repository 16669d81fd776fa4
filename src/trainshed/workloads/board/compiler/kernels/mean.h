/* Sums over up to three dimensions, in the order of the array. */
#ifndef MEAN_H
#define MEAN_H

#include "base.h"

/* How many elements along each dimension, the outermost first, and how far apart they are. */
struct summed {
    int n0, step0, n1, step1, n2, step2;
};

KERNEL int8_t mean_int8(const int8_t *in, struct summed over, int32_t zero_of_sum,
                        int32_t multiplier, int shift, int32_t zero)
{
    int32_t sum = -zero_of_sum;
    for (int i = 0; i < over.n0; i++)
        for (int j = 0; j < over.n1; j++)
            for (int k = 0; k < over.n2; k++)
                sum += in[i * over.step0 + j * over.step1 + k * over.step2];
    return (int8_t)clamp(requantize(sum, multiplier, shift) + zero, -128, 127);
}

KERNEL float mean_f32(const float *in, struct summed over, float n)
{
    float sum = 0.0f;
    for (int i = 0; i < over.n0; i++)
        for (int j = 0; j < over.n1; j++)
            for (int k = 0; k < over.n2; k++)
                sum += in[i * over.step0 + j * over.step1 + k * over.step2];
    return sum / n;
}

#endif
