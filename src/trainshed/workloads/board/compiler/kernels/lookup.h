/* int8 operators of one input: a table of all 256 results, made before the build. */
#ifndef LOOKUP_H
#define LOOKUP_H

#include "base.h"

/* table: the results for the inputs' bytes read as unsigned, 0 to 127 and then -128 to -1. */
KERNEL void lookup(const uint8_t *in, const uint8_t *table, uint8_t *out, int n)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        uint8_t a = table[in[i]], b = table[in[i + 1]], c = table[in[i + 2]], d = table[in[i + 3]];
        out[i] = a;
        out[i + 1] = b;
        out[i + 2] = c;
        out[i + 3] = d;
    }
    for (; i < n; i++)
        out[i] = table[in[i]];
}

/* in: int8 or uint8 by the table's order. */
KERNEL void lookup_f32(const uint8_t *in, const float *table, float *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = table[in[i]];
}

#endif
