"""ADD, int8, with broadcasting."""

from __future__ import annotations

from dataclasses import dataclass

from trainshed.workloads.board.compiler.arithmetic import (
    Multiplier,
    activation_of,
    int8_range,
    is_quantized,
    multiplier,
    refuse_activation,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.broadcast import (
    loops,
    overwrites_same_shape,
    refuse_shapes,
)
from trainshed.workloads.board.compiler.entry import INT8, Code, Entry, Site
from trainshed.workloads.board.model.graph import Graph, Operator, Tensor

_SUM_SHIFT = 20


@dataclass(frozen=True, slots=True)
class _Scales:
    """Both inputs to twice the larger scale, and from there to the output's."""

    first: Multiplier
    second: Multiplier
    out: float


def _scales(first: Tensor, second: Tensor, target: Tensor) -> _Scales:
    common = 2 * max(scale(first), scale(second))
    return _Scales(
        multiplier(scale(first) / common), multiplier(scale(second) / common),
        common / ((1 << _SUM_SHIFT) * scale(target)),
    )  # fmt: skip


def _emit(site: Site) -> Code:
    first, second, target = site.input(0), site.input(1), site.output()
    scales = _scales(first, second, target)
    out = multiplier(scales.out)
    low, high = int8_range(activation_of(site.operator), target)
    a, b = (
        f"on_common_scale({name}[{index}] - ({zero_point(t)}), {m.value}, {m.shift})"
        for name, index, t, m in (
            ("a", "i", first, scales.first),
            ("b", "j", second, scales.second),
        )
    )
    statement = (
        f"out[k] = from_common_scale({a} + {b}, {out.value}, {out.shift}, {zero_point(target)}, "
        f"{low}, {high});"
    )
    body = (
        f"    const int8_t *a = {site.at(first)}, *b = {site.at(second)};\n"
        f"    int8_t *out = {site.at(target)};\n"
        f"{loops(first.shape, second.shape, target.shape, statement)}"
    )
    return Code(body, ("elementwise_int8.h",))


def _refuse(graph: Graph, operator: Operator) -> str | None:
    first, second = (graph.tensors[i] for i in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]]
    if second.dtype != first.dtype:
        return f"{operator.kind} of {first.dtype} and {second.dtype} is not supported."
    if not is_quantized(first, second, target):
        return f"{operator.kind}: a tensor has no scale. Quantise the whole model."
    if min(scale(first), scale(second), scale(target)) <= 0:
        return f"{operator.kind}: a scale is 0."
    if _scales(first, second, target).out >= 1.0:
        return f"{operator.kind}: the scale of the output is too small for the reference."
    return refuse_shapes(graph, operator) or refuse_activation(operator)


ENTRIES = (Entry("ADD", 4, (INT8,), _emit, _refuse, overwrites=overwrites_same_shape),)
