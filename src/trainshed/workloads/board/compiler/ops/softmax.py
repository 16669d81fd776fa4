"""SOFTMAX, int8."""

from __future__ import annotations

import math

from trainshed.workloads.board.compiler.arithmetic import (
    f32,
    is_quantized,
    multiplier,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.entry import INT8, Code, Entry, Site
from trainshed.workloads.board.model.graph import Graph, Operator

_DIFFERENCE_BITS = 5
_FRACTION_BITS = 31 - _DIFFERENCE_BITS
#: The reference sums exponentials of at most 1 with 12 bits before the point, and aborts beyond.
_MAX_DEPTH = 2**12


def _real_multiplier(graph: Graph, operator: Operator) -> float:
    beta = f32(operator.options["beta"])
    real = beta * scale(graph.tensors[operator.inputs[0]]) * (1 << _FRACTION_BITS)
    return min(real, 2.0**31 - 1.0)


def _emit(site: Site) -> Code:
    source, target = site.input(), site.output()
    scaled = multiplier(_real_multiplier(site.graph, site.operator))
    radius = ((1 << _DIFFERENCE_BITS) - 1) * (1 << _FRACTION_BITS) / (1 << scaled.shift)
    n = source.shape[-1]
    body = (
        f"    softmax_int8({site.at(source)}, {site.at(target)}, {source.n_elements // n}, {n},\n"
        f"                 {scaled.value}, {scaled.shift}, {-math.floor(radius)});"
    )
    return Code(body, ("softmax_int8.h",))


def _refuse(graph: Graph, operator: Operator) -> str | None:
    source, target = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if not is_quantized(source, target):
        return "SOFTMAX: a tensor has no scale. Quantise the whole model."
    if zero_point(target) != -128 or scale(target) != 1 / 256:
        return "SOFTMAX needs an int8 output of scale 1/256 and zero point -128."
    if not 1 <= len(source.shape) <= 4 or source.n_elements == 0:
        return f"SOFTMAX of shape {source.shape} is not supported."
    if source.shape[-1] > _MAX_DEPTH:
        return f"SOFTMAX over {source.shape[-1]} values is not supported, only up to {_MAX_DEPTH}."
    if _real_multiplier(graph, operator) <= 1.0:
        return "SOFTMAX: scale × beta of the input is too small for the reference."
    return None


ENTRIES = (Entry("SOFTMAX", 3, (INT8,), _emit, _refuse),)
