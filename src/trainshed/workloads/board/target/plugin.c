/*
 * A counter for QEMU: how often each block of code ran, separately for each layer of the model.
 *
 * QEMU translates the firmware block by block. Each block gets one inline counter, which costs
 * nearly nothing. Blocks where a layer begins, and all blocks of the harness (the loop that calls
 * the layers), also get a callback: it adds what ran since the last callback to the layer that
 * was running. So what a layer calls is counted as the layer's, and what the harness calls is not.
 *
 * Arguments: spans=FILE and out=FILE, both in the working directory.
 *   spans: a line each, hexadecimal "first last index": the code of layer `index`, or of the
 *          harness where index is -1.
 *   out:   a line each, "index first last instructions count": a block that ran `count` times
 *          in the layer, or outside of all layers (-1).
 *
 * Debian's QEMU runs plugins but does not ship qemu-plugin.h; what is needed of version 1 of its
 * interface is declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*cb)(unsigned int vcpu, void *data),
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op,
                                              void *counter, uint64_t by);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *),
                                    void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { MAX_SPANS = 4096, MAX_PATH = 4096 };

struct span {
    uint64_t first, last;
    int index;
};

struct block {
    uint64_t count, seen; /* executions in all; of these, already added to a layer */
    uint64_t first, last; /* addresses of the first and the last instruction */
    size_t instructions;
    uint64_t *by_layer; /* executions by layer, [0] is outside of all */
    struct block *next;
};

static struct span spans[MAX_SPANS];
static size_t n_spans;
static int n_layers;
static int running = -1; /* the layer that runs, -1 is none */
static struct block *blocks;
static char spans_path[MAX_PATH] = "spans.txt";
static char out_path[MAX_PATH] = "blocks.txt";

/* Add what ran since the last call to the layer that was running. */
static void settle(void)
{
    for (struct block *b = blocks; b; b = b->next) {
        b->by_layer[running + 1] += b->count - b->seen;
        b->seen = b->count;
    }
}

/* A block begins a layer, or belongs to the harness. Runs before the block's own counter. */
static void enter(unsigned int vcpu, void *data)
{
    const struct span *span = data;

    (void)vcpu;
    if (span->index != running) {
        settle();
        running = span->index;
    }
}

static struct span *span_of(uint64_t address)
{
    for (size_t i = 0; i < n_spans; i++) {
        bool layer = spans[i].index >= 0;

        if (layer ? address == spans[i].first
                  : address >= spans[i].first && address <= spans[i].last)
            return &spans[i];
    }
    return NULL;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    struct block *block = calloc(1, sizeof *block);
    struct span *span;

    (void)id;
    if (!block || !(block->by_layer = calloc((size_t)n_layers + 1, sizeof(uint64_t)))) {
        fputs("counter: out of memory\n", stderr);
        exit(70);
    }
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->first = qemu_plugin_tb_vaddr(tb);
    block->last = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, block->instructions - 1));
    block->next = blocks;
    blocks = block;
    span = span_of(block->first);
    if (span)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, enter, QEMU_PLUGIN_CB_NO_REGS, span);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->count, 1);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    FILE *out = fopen(out_path, "w");

    (void)id;
    (void)data;
    if (!out)
        return;
    settle();
    for (struct block *b = blocks; b; b = b->next)
        for (int i = 0; i <= n_layers; i++)
            if (b->by_layer[i])
                fprintf(out, "%d %" PRIx64 " %" PRIx64 " %zu %" PRIu64 "\n", i - 1, b->first,
                        b->last, b->instructions, b->by_layer[i]);
    fclose(out);
}

static int read_spans(void)
{
    FILE *in = fopen(spans_path, "r");
    struct span span;

    if (!in)
        return -1;
    while (n_spans < MAX_SPANS &&
           fscanf(in, "%" SCNx64 " %" SCNx64 " %d", &span.first, &span.last, &span.index) == 3) {
        if (span.index + 1 > n_layers)
            n_layers = span.index + 1;
        spans[n_spans++] = span;
    }
    fclose(in);
    return n_spans ? 0 : -1;
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "spans=", 6) == 0)
            snprintf(spans_path, sizeof spans_path, "%s", argv[i] + 6);
        else if (strncmp(argv[i], "out=", 4) == 0)
            snprintf(out_path, sizeof out_path, "%s", argv[i] + 4);
    }
    if (read_spans()) {
        fputs("counter: no spans to read\n", stderr);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
