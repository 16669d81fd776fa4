/*
 * Runs the models on what the host asks for, and counts.
 *
 * in.bin (little-endian words): MAGIC_IN, number of input sets, inferences a set, 1 to write each
 * layer's result; then for each model, for each set, the bytes of its inputs in order. Without the
 * file: one set of zeros, ten inferences.
 * out.bin: for each model, for each set, the bytes of its outputs after the last inference.
 * layers.bin: for each model, for each set, what each layer wrote.
 * counts.bin (words): MAGIC_COUNTS, number of models, timer ticks of a layer that does nothing,
 * stack bytes ever in use (written at the end); then for each model the number of layers and for
 * each set and inference the ticks of each layer and of the whole inference.
 */
#include "model.h"
#include "semihost.h"

enum { MAGIC_IN = 0x49535254, MAGIC_COUNTS = 0x43535254, DEFAULT_INFERENCES = 10 };

extern const struct model *const models[];
extern const uint32_t n_models;

/* The timer of the emulated machine; it counts down. */
#define TIMER_CONTROL (*(volatile uint32_t *)(TIMER + 0))
#define TIMER_VALUE (*(volatile uint32_t *)(TIMER + 4))
#define TIMER_RELOAD (*(volatile uint32_t *)(TIMER + 8))

struct request {
    uint32_t magic, n_sets, n_inferences, with_layers;
};

static void nothing(void) {}

/* One inference: the ticks of each layer, then of all. Differences are right if one layer's fit. */
__attribute__((noinline)) static void infer(const struct model *model)
{
    uint32_t *ticks = model->ticks;
    uint32_t start = TIMER_VALUE, before = start;
    for (uint32_t i = 0; i < model->n_layers; i++) {
        model->layers[i]();
        uint32_t after = TIMER_VALUE;
        ticks[i] = before - after;
        before = after;
    }
    ticks[model->n_layers] = start - before;
}

/* Inputs go into the arena before each inference: a layer may have written over them. */
static void load_inputs(const struct model *model, int32_t file, uint32_t position)
{
    if (file >= 0)
        host_seek(file, position);
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        int8_t *to = model->arena + model->inputs[i].offset;
        if (file >= 0 && host_read(file, to, model->inputs[i].n_bytes))
            host_exit(2);
        for (uint32_t k = 0; file < 0 && k < model->inputs[i].n_bytes; k++)
            to[k] = 0;
    }
}

static uint32_t input_bytes(const struct model *model)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_inputs; i++)
        n += model->inputs[i].n_bytes;
    return n;
}

static void write_layers(const struct model *model, int32_t file)
{
    for (uint32_t i = 0; i < model->n_layers; i++) {
        model->layers[i]();
        host_write(file, model->arena + model->results[i].offset, model->results[i].n_bytes);
    }
}

struct files {
    int32_t in, out, counts, layers;
};

/* All sets of one model; returns where the next model's inputs begin. */
static uint32_t run(const struct model *model, const struct request *request,
                    const struct files *files, uint32_t position)
{
    host_write(files->counts, &model->n_layers, 4);
    for (uint32_t set = 0; set < request->n_sets; set++) {
        for (uint32_t i = 0; i < request->n_inferences; i++) {
            load_inputs(model, files->in, position);
            infer(model);
            host_write(files->counts, model->ticks, (model->n_layers + 1) * 4);
        }
        for (uint32_t i = 0; i < model->n_outputs; i++)
            host_write(files->out, model->arena + model->outputs[i].offset,
                       model->outputs[i].n_bytes);
        if (request->with_layers) {
            load_inputs(model, files->in, position);
            write_layers(model, files->layers);
        }
        position += input_bytes(model);
    }
    return position;
}

static uint32_t ticks_of_nothing(void)
{
    static uint32_t ticks[2];
    static void (*const layers[])(void) = {nothing};
    static const struct model empty = {0, ticks, 1, 0, 0, layers, 0, 0, 0};
    infer(&empty);
    return ticks[0];
}

int main(void)
{
    struct request request = {MAGIC_IN, 1, DEFAULT_INFERENCES, 0};
    struct files files = {host_open("in.bin", READ_BINARY), host_open("out.bin", WRITE_BINARY),
                          host_open("counts.bin", WRITE_BINARY), -1};
    TIMER_RELOAD = 0xffffffffu;
    TIMER_VALUE = 0xffffffffu;
    TIMER_CONTROL = 1;
    if (files.in >= 0 && (host_read(files.in, &request, sizeof request) ||
                          request.magic != MAGIC_IN))
        return 2;
    if (request.with_layers)
        files.layers = host_open("layers.bin", WRITE_BINARY);
    uint32_t head[4] = {MAGIC_COUNTS, n_models, ticks_of_nothing(), 0};
    host_write(files.counts, head, sizeof head);
    uint32_t position = sizeof request;
    for (uint32_t i = 0; i < n_models; i++)
        position = run(models[i], &request, &files, position);
    head[3] = stack_high_water();
    host_seek(files.counts, 0);
    host_write(files.counts, head, sizeof head);
    return 0;
}
