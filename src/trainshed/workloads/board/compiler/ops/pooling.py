"""AVERAGE_POOL_2D and MAX_POOL_2D, int8."""

from __future__ import annotations

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.arithmetic import (
    Window,
    activation_of,
    int8_range,
    is_quantized,
    refuse_activation,
    window,
)
from trainshed.workloads.board.compiler.entry import INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.ops.convolution import struct
from trainshed.workloads.board.model.graph import Graph, Operator


def pool_windows(graph: Graph, operator: Operator) -> tuple[Window, Window]:
    """Return how the window moves down and to the right."""
    source = graph.tensors[operator.inputs[0]].shape
    options = operator.options
    vertical = window(options["padding"], source[1], options["filter_height"], options["stride_h"])
    return vertical, window(
        options["padding"], source[2], options["filter_width"], options["stride_w"]
    )


def pool_fields(graph: Graph, operator: Operator) -> dict[str, int]:
    """Return the geometry as the kernels' struct names it."""
    v, h = pool_windows(graph, operator)
    return {
        "height": v.n_in, "width": h.n_in, "channels": graph.tensors[operator.inputs[0]].shape[3],
        "out_height": v.n_out, "out_width": h.n_out, "filter_height": v.size,
        "filter_width": h.size, "stride_y": v.stride, "stride_x": h.stride, "top": v.before,
        "left": h.before,
    }  # fmt: skip


def refuse_pool(graph: Graph, operator: Operator) -> str | None:
    """Return why a pooling cannot be compiled, whatever its type."""
    source, target = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if len(source.shape) != 4 or source.shape[0] != 1:
        return f"{operator.kind} of {source.shape}: one image of rows, columns, channels only."
    if min(operator.options["filter_height"], operator.options["filter_width"]) < 1:
        return f"{operator.kind} has no window."
    v, h = pool_windows(graph, operator)
    if target.shape != (1, v.n_out, h.n_out, source.shape[3]):
        return f"{operator.kind}: the output {target.shape} does not fit {source.shape}."
    return refuse_activation(operator)


def overwrites_pool(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """Without padding a window never reads before the place of its output."""
    v, h = pool_windows(graph, operator)
    return operator.inputs[:1] if v.before == h.before == 0 else ()


def _emit(site: Site) -> Code:
    target = site.output()
    low, high = int8_range(activation_of(site.operator), target)
    fields = pool_fields(site.graph, site.operator) | {"low": low, "high": high}
    average = int(site.operator.kind == "AVERAGE_POOL_2D")
    body = (
        f"    pool_int8({site.at(site.input())}, {site.at(target)}, {average},\n"
        f"              {struct('pooling', fields)});"
    )
    return Code(body, ("pooling_int8.h",))


def _refuse(graph: Graph, operator: Operator) -> str | None:
    target = graph.tensors[operator.outputs[0]]
    if not is_quantized(graph.tensors[operator.inputs[0]], target):
        return f"{operator.kind}: a tensor has no scale. Quantise the whole model."
    return refuse_pool(graph, operator)


ENTRIES = tuple(
    Entry(kind, 3, (INT8,), _emit, _refuse, overwrites=overwrites_pool)
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
)
