"""DEPTHWISE_CONV_2D, int8. Of a single input channel it is a convolution and runs as one."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.arithmetic import (
    Window,
    activation_of,
    int8_range,
    per_channel,
    zero_point,
)
from trainshed.workloads.board.compiler.entry import INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.ops.convolution import (
    Convolution,
    constant_int8,
    emit_product,
    fold,
    refuse_shape,
    refuse_weights,
    struct,
    windows_of,
)
from trainshed.workloads.board.model.graph import Graph, Operator

# What the planes of a strip may take, where the whole image is not needed for writing in place.
_STRIP_BYTES = 4096
_LANES = 4


def depthwise_shape(graph: Graph, operator: Operator) -> Convolution:
    """Return the geometry; each input channel is a group of its own."""
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    vertical, horizontal = windows_of(operator.options, source.shape, weights.shape)
    return Convolution(vertical, horizontal, source.shape[3], weights.shape[3], 1)


def _filters(site: Site) -> np.ndarray[Any, Any]:
    """Weights as (output channel, row by row)."""
    weights = constant_int8(site.input(1))
    return weights.reshape(-1, weights.shape[3]).T


def _reach(along: Window, n_out: int) -> int:
    """Elements that n_out steps of a filter see."""
    return (n_out - 1) * along.stride + (along.size - 1) * along.dilation + 1


def _plane(shape: Convolution, strip: int) -> tuple[int, int]:
    """Height and width of a plane: an even width, with room for what a pair reads too much."""
    width = max(_reach(shape.horizontal, shape.horizontal.n_out), 0)
    width = max(width, shape.horizontal.before + shape.horizontal.n_in)
    return _reach(shape.vertical, strip), (width + 3) // 2 * 2


def _bytes(shape: Convolution, strip: int, dsp: bool) -> int:
    height, width = _plane(shape, strip)
    return min(_LANES, shape.channels) * height * width * (2 if dsp else 1) + 4


def _strip(shape: Convolution, dsp: bool) -> int:
    """Rows of the output at a time: all if that is small, else what fits."""
    strip = shape.vertical.n_out
    while strip > 1 and _bytes(shape, strip, dsp) > _STRIP_BYTES:
        strip -= 1
    return strip


def _emit(site: Site) -> Code:
    shape = depthwise_shape(site.graph, site.operator)
    filters = _filters(site)
    source, target = site.input(), site.output()
    multipliers = per_channel(source, site.input(1), target, len(filters))
    if shape.channels == 1:
        return emit_product(site, shape, filters, multipliers)
    table, all_right = fold(site, filters, multipliers)
    low, high = int8_range(activation_of(site.operator), target)
    v, h = shape.vertical, shape.horizontal
    strip = _strip(shape, site.core.dsp)
    plane_height, plane_width = _plane(shape, strip)
    fields = {
        "height": v.n_in, "width": h.n_in, "channels": shape.channels, "out_height": v.n_out,
        "out_width": h.n_out, "multiplier": shape.out_channels // shape.channels,
        "filter_height": v.size, "filter_width": h.size, "stride_y": v.stride,
        "stride_x": h.stride, "dilation_y": v.dilation, "dilation_x": h.dilation,
        "top": v.before, "left": h.before, "strip": strip, "plane_width": plane_width,
        "plane_height": plane_height, "zero_in": zero_point(source),
        "zero_out": zero_point(target), "low": low, "high": high, "all_right": int(all_right),
    }  # fmt: skip
    weights = site.constant("weights", "int8_t", filters)
    channels = site.constant("channels", "int32_t", table)
    body = (
        f"    depthwise_int8({site.at(source)}, {weights}, (const struct channel *){channels},\n"
        f"                   {site.at(target)}, {site.scratch('plane_t')},\n"
        f"                   {struct('depthwise', fields)});"
    )
    n_strips = -(-v.n_out // strip)
    return Code(
        body, ("depthwise_int8.h",), shape.n_pixels * filters.size, n_strips * site.weight_bytes
    )


def _scratch(graph: Graph, operator: Operator, core: Core) -> int:
    shape = depthwise_shape(graph, operator)
    if shape.channels == 1:
        return shape.scratch(core.dsp)
    return _bytes(shape, _strip(shape, core.dsp), core.dsp)


def _overwrites(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """A channel's output only takes the place of the same channel's input."""
    shape = depthwise_shape(graph, operator)
    whole = _strip(shape, core.dsp) == shape.vertical.n_out
    same = shape.channels == shape.out_channels > 1
    return operator.inputs[:1] if whole and same else ()


def _refuse(graph: Graph, operator: Operator) -> str | None:
    reason = refuse_weights(graph, operator, 3)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    if len(source.shape) != 4 or len(weights.shape) != 4 or source.shape[0] != 1:
        return f"DEPTHWISE_CONV_2D of {source.shape}: one image of rows, columns, channels only."
    if weights.shape[0] != 1 or weights.shape[3] % source.shape[3]:
        return f"DEPTHWISE_CONV_2D: weights {weights.shape} do not fit {source.shape}."
    return refuse_shape(depthwise_shape(graph, operator), graph.tensors[operator.outputs[0]])


ENTRIES = (
    Entry("DEPTHWISE_CONV_2D", 7, (INT8,), _emit, _refuse, _scratch, _overwrites, n_inputs=2),
)
