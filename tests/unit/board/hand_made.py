"""A program written by hand, so that its instruction counts are known without a compiler's help."""

from __future__ import annotations

import shutil
from importlib import resources

from trainshed.workloads.board.compiler.program import Layer, Port, Program

#: Why nothing can be run here, or empty.
MISSING = ", ".join(
    name for name in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc") if shutil.which(name) is None
)
N = 16
#: A loop of two instructions, N times, and what surrounds it, whatever the core.
MODEL = """
#include "model.h"
static int8_t arena[64] __attribute__((aligned(16)));
static uint32_t ticks[4];
static const int8_t layer_00_copy_w[16] = {WEIGHTS};

__attribute__((noinline)) void layer_00_copy(void)
{
    const int8_t *w = layer_00_copy_w;
    __asm__("" : "+r"(w)); /* so that the compiler does not fold the weights into the code */
    for (int i = 0; i < 16; i++)
        arena[16 + i] = (int8_t)(arena[i] ^ w[i]);
}

/* Calls something: that counts as the layer's. */
__attribute__((noinline)) static void spin(uint32_t n)
{
    __asm__ volatile(".syntax unified\\n1: subs %0, #1\\n bne 1b" : "+l"(n) : : "cc");
}

__attribute__((noinline)) void layer_01_spin(void) { spin(1000); spin(SPINS); }

static void (*const layers[])(void) = {layer_00_copy, layer_01_spin};
static const struct port inputs[] = {{0, 16}};
static const struct port outputs[] = {{16, 16}};
static const struct port results[] = {{16, 16}, {16, 16}};
const struct model model = {arena, ticks, 2, 1, 1, layers, inputs, outputs, results};
"""


def program(spins: int = 5000, weights: bytes = bytes(range(N))) -> Program:
    """Return a program of two layers: one xors the input with the weights, one spins."""
    model_h = resources.files("trainshed.workloads.board.compiler") / "kernels/model.h"
    text = MODEL.replace("SPINS", str(spins)).replace("WEIGHTS", ", ".join(map(str, weights)))
    layers = (
        Layer(0, 0, "COPY", "layer_00_copy", 0, N, N, N, N, ("layer_00_copy_w",)),
        Layer(1, 1, "SPIN", "layer_01_spin", 1000 + spins, 0, 0, N, N),
    )
    port = Port(1, N, N)
    sources = {"model.c": text.encode(), "model.h": model_h.read_bytes()}
    return Program(sources, layers, (Port(0, 0, N),), (port,), (port, port), 64, 0)
