/* What a compiled model offers to the firmware that walks through it. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

/* A tensor in the arena. */
struct port {
    uint32_t offset;
    uint32_t n_bytes;
};

/* results: what each layer wrote. ticks: room for the timer, one word a layer and one in all. */
struct model {
    int8_t *arena;
    uint32_t *ticks;
    uint32_t n_layers;
    uint32_t n_inputs;
    uint32_t n_outputs;
    void (*const *layers)(void);
    const struct port *inputs;
    const struct port *outputs;
    const struct port *results;
};

#endif
