/*
 * Runs the model on a real board, alone: nobody is attached while it is measured.
 *
 * After reset: the board's registers (SETUP), a pause with the pin low, then the inferences, the
 * first input set as often as asked, each further set once. The pin is high for exactly as long as
 * an inference takes; inputs are loaded and outputs kept while it is low. Then it says in `mailbox`
 * how it went and sleeps; a probe reads `mailbox` and `kept` afterwards.
 *
 * The probe has written to flash at `bench_inputs`: a number that names this run, the number of
 * input sets, of inferences on the first, and the bytes of each set's inputs in order.
 */
#pragma GCC optimize("Os") /* not what is measured: small */

#include "bench.h"
#include "model.h"
#include "semihost.h"

enum { RUNNING = 1, DONE = 2, FAILED = 3 };

extern const struct model *const models[];
extern const uint32_t bench_inputs[];

static const uint32_t setup[][2] = {SETUP};

__attribute__((used)) volatile struct {
    uint32_t run; /* the number that the probe gave it */
    uint32_t state;
    uint32_t stack_bytes;
} mailbox;
__attribute__((used)) int8_t kept[RESULT_BYTES];

#define REGISTER(address) (*(volatile uint32_t *)(address))

static void copy(int8_t *to, const int8_t *from, uint32_t n)
{
    while (n--)
        *to++ = *from++;
}

/* A few cycles a turn. */
static void pause(uint32_t turns)
{
    while (turns--)
        __asm__ volatile("");
}

static uint32_t load_inputs(const struct model *model, const int8_t *from)
{
    const int8_t *start = from;
    for (uint32_t i = 0; i < model->n_inputs; i++) {
        copy(model->arena + model->inputs[i].offset, from, model->inputs[i].n_bytes);
        from += model->inputs[i].n_bytes;
    }
    return (uint32_t)(from - start);
}

static void infer(const struct model *model)
{
    REGISTER(PIN_SET) = PIN_MASK;
    for (uint32_t i = 0; i < model->n_layers; i++)
        model->layers[i]();
    REGISTER(PIN_CLEAR) = PIN_MASK;
}

int main(void)
{
    const struct model *model = models[0];
    uint32_t n_sets = bench_inputs[1], n_inferences = bench_inputs[2], n_kept = 0;
    const int8_t *inputs = (const int8_t *)(bench_inputs + 3);

    mailbox.run = bench_inputs[0];
    mailbox.state = RUNNING;
    for (uint32_t i = 0; i < sizeof setup / sizeof setup[0]; i++)
        REGISTER(setup[i][0]) = setup[i][1];
    REGISTER(PIN_CLEAR) = PIN_MASK;
    pause(START_TURNS);
    for (uint32_t set = 0; set < n_sets; set++) {
        uint32_t n_read = 0;
        for (uint32_t i = 0; i < (set ? 1 : n_inferences); i++) {
            n_read = load_inputs(model, inputs);
            pause(GAP_TURNS);
            infer(model);
        }
        inputs += n_read;
        for (uint32_t i = 0; i < model->n_outputs; i++) {
            if (n_kept + model->outputs[i].n_bytes > RESULT_BYTES)
                host_exit(FAILED);
            copy(kept + n_kept, model->arena + model->outputs[i].offset,
                 model->outputs[i].n_bytes);
            n_kept += model->outputs[i].n_bytes;
        }
    }
    mailbox.stack_bytes = stack_high_water();
    mailbox.state = DONE;
    for (;;)
        __asm__ volatile("wfi");
}

/* There is no host: what start.c calls on a fault. */
void host_print(const char *text) { (void)text; }

void host_exit(uint32_t code)
{
    (void)code;
    mailbox.state = FAILED;
    for (;;)
        __asm__ volatile("wfi");
}
