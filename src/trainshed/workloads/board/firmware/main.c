/*
 * Runs the models on what the host asks for, and says what it took.
 *
 * input.bin (little-endian words): the number of input sets, and of inferences on each; then the
 * bytes of each set's inputs in order. Without the file: one set of zeros, ten inferences.
 * output.bin: each set's outputs, of its last inference.
 * inspect.bin, where it is there already: what each layer wrote, on each set.
 * On the console, a line each: "inference SET INDEX TICKS", "layer INDEX TICKS" (of the first
 * inference), "stack BYTES" (ever in use), "done".
 *
 * An image of several models has the sets of the first model first, as many for each; the numbers
 * of sets and layers go on from one model to the next.
 */
#pragma GCC optimize("Os") /* not what is measured: small */

#include "model.h"
#include "semihost.h"

enum { DEFAULT_SETS = 1, DEFAULT_INFERENCES = 10, BAD_INPUT = 2 };

extern const struct model *const models[];
extern const uint32_t n_models;

/* The timer of the emulated machine; it counts down. */
#define TIMER_CONTROL (*(volatile uint32_t *)(TIMER + 0))
#define TIMER_VALUE (*(volatile uint32_t *)(TIMER + 4))
#define TIMER_RELOAD (*(volatile uint32_t *)(TIMER + 8))

#define INLINE static inline __attribute__((always_inline))

static int32_t input_file, output_file, inspect_file = -1;
static uint32_t n_sets = DEFAULT_SETS, n_inferences = DEFAULT_INFERENCES;

/* One line: a word and up to three numbers. */
static void say(const char *word, const uint32_t *numbers, int n)
{
    static char line[64];
    char *at = line;
    while (*word)
        *at++ = *word++;
    for (int i = 0; i < n; i++) {
        char digits[10];
        int n_digits = 0;
        uint32_t rest = numbers[i];
        do
            digits[n_digits++] = (char)('0' + rest % 10);
        while ((rest /= 10) != 0);
        *at++ = ' ';
        while (n_digits)
            *at++ = digits[--n_digits];
    }
    *at++ = '\n';
    *at = 0;
    host_print(line);
}

/* Inputs go into the arena before each inference: a layer may have written over them. */
static void load_inputs(const struct model *model, uint32_t position)
{
    if (input_file >= 0)
        host_seek(input_file, position);
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        int8_t *to = model->arena + model->inputs[i].offset;
        if (input_file >= 0 && host_read(input_file, to, model->inputs[i].n_bytes))
            host_exit(BAD_INPUT);
        for (uint32_t k = 0; input_file < 0 && k < model->inputs[i].n_bytes; k++)
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

static void write_ports(const struct model *model, int32_t file, const struct port *ports,
                        uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        host_write(file, model->arena + ports[i].offset, ports[i].n_bytes);
}

/* One inference: the ticks of each layer, then of all. A difference is right if it fits a word. */
INLINE void infer(const struct model *model)
{
    uint32_t start = TIMER_VALUE, before = start;
    for (uint32_t i = 0; i < model->n_layers; i++) {
        model->layers[i]();
        uint32_t after = TIMER_VALUE;
        model->ticks[i] = before - after;
        before = after;
    }
    model->ticks[model->n_layers] = start - before;
}

INLINE void inspect(const struct model *model)
{
    for (uint32_t i = 0; i < model->n_layers; i++) {
        model->layers[i]();
        write_ports(model, inspect_file, model->results + i, 1);
    }
}

static void open_files(void)
{
    uint32_t head[2];
    input_file = host_open("input.bin", READ_BINARY);
    output_file = host_open("output.bin", WRITE_BINARY);
    int32_t wanted = host_open("inspect.bin", READ_BINARY);
    if (wanted >= 0)
        inspect_file = host_open("inspect.bin", WRITE_BINARY);
    if (input_file < 0)
        return;
    if (host_read(input_file, head, sizeof head))
        host_exit(BAD_INPUT);
    n_sets = head[0];
    n_inferences = head[1];
}

int main(void)
{
    uint32_t position = 2 * sizeof(uint32_t), set = 0, layer = 0;
    open_files();
    TIMER_RELOAD = 0xffffffffu;
    TIMER_VALUE = 0xffffffffu;
    TIMER_CONTROL = 1;
    for (uint32_t m = 0; m < n_models; m++) {
        const struct model *model = models[m];
        for (uint32_t s = 0; s < n_sets; s++, set++) {
            for (uint32_t i = 0; i < n_inferences; i++) {
                load_inputs(model, position);
                infer(model);
                say("inference", (uint32_t[]){set, i, model->ticks[model->n_layers]}, 3);
                for (uint32_t k = 0; s == 0 && i == 0 && k < model->n_layers; k++, layer++)
                    say("layer", (uint32_t[]){layer, model->ticks[k]}, 2);
            }
            write_ports(model, output_file, model->outputs, model->n_outputs);
            if (inspect_file >= 0) {
                load_inputs(model, position);
                inspect(model);
            }
            position += input_bytes(model);
        }
    }
    say("stack", (uint32_t[]){stack_high_water()}, 1);
    host_print("done\n");
    return 0;
}
