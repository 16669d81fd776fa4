"""CONV_2D and FULLY_CONNECTED, int8: one kernel, a matrix product over gathered columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.arithmetic import (
    Multiplier,
    Window,
    activation_of,
    f32,
    int8_range,
    is_quantized,
    multiplier,
    per_channel,
    refuse_activation,
    scale,
    window,
    zero_point,
)
from trainshed.workloads.board.compiler.entry import INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.packing import channel_table, n_units, pack, shifts_right
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor

_HEADER = "convolution_int8.h"


@dataclass(frozen=True, slots=True)
class Convolution:
    """The geometry of one; a matrix product is one of a single pixel a row."""

    vertical: Window
    horizontal: Window
    channels: int
    out_channels: int
    groups: int

    @property
    def group_in(self) -> int:
        """Input channels of a group."""
        return self.channels // self.groups

    @property
    def group_out(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def run(self) -> int:
        """Elements of a column that lie together in the input."""
        split = self.horizontal.dilation > 1 or self.groups > 1
        return self.group_in if split else self.horizontal.size * self.channels

    @property
    def n_elements(self) -> int:
        """Elements of a column."""
        return self.vertical.size * self.horizontal.size * self.group_in

    @property
    def n_pixels(self) -> int:
        """Output pixels."""
        return self.vertical.n_out * self.horizontal.n_out

    def units(self, dsp: bool) -> int:
        """Units of a column, as the kernel counts them."""
        return self.n_elements // self.run * n_units(self.run, dsp)

    def scratch(self, dsp: bool) -> int:
        """Bytes of the columns that wait, and of the row of a filter that crosses an edge."""
        edge = self.horizontal.size * self.channels if self.horizontal.size > 1 else 0
        return min(self.n_pixels, 2) * self.units(dsp) * (4 if dsp else 1) + edge


def emit_product(
    site: Site, shape: Convolution, weights: np.ndarray[Any, Any], multipliers: list[Multiplier]
) -> Code:
    """Return the layer. ``weights``: (output channel, element of a column)."""
    source, target = site.input(), site.output()
    dsp = site.core.dsp
    low, high = int8_range(activation_of(site.operator), target)
    table, all_right = fold(site, weights, multipliers)
    packed = [
        pack(weights[g : g + shape.group_out], shape.run, dsp)
        for g in range(0, shape.out_channels, shape.group_out)
    ]
    name = site.constant("weights", "int8_t", np.concatenate(packed))
    channels = site.constant("channels", "int32_t", table)
    v, h = shape.vertical, shape.horizontal
    fields = {
        "height": v.n_in, "width": h.n_in, "channels": shape.channels,
        "out_height": v.n_out, "out_width": h.n_out, "out_channels": shape.out_channels,
        "filter_height": v.size, "filter_width": h.size, "stride_y": v.stride,
        "stride_x": h.stride, "dilation_y": v.dilation, "dilation_x": h.dilation,
        "top": v.before, "left": h.before, "groups": shape.groups, "group_in": shape.group_in,
        "group_out": shape.group_out, "zero_in": zero_point(source),
        "zero_out": zero_point(target), "low": low, "high": high, "all_right": int(all_right),
    }  # fmt: skip
    columns = site.scratch("column_t")
    body = (
        f"    convolve_int8({site.at(source)}, {name}, (const struct channel *){channels},\n"
        f"                  {site.at(target)}, {columns}, {shape.units(dsp)}, {len(packed[0])},\n"
        f"                  {struct('convolution', fields)});"
    )
    macs = shape.n_pixels * weights.size
    return Code(body, (_HEADER,), macs, -(-shape.n_pixels // 2) * site.weight_bytes)


def fold(
    site: Site, weights: np.ndarray[Any, Any], multipliers: list[Multiplier]
) -> tuple[np.ndarray[Any, Any], bool]:
    """Return the table of output channels with the input's zero point in the biases, and
    whether all of them are scaled by a shift to the right."""
    wide = weights.astype(np.int64)
    biases = bias_of(site, len(weights))
    all_right = shifts_right(wide, biases, multipliers)
    folded = biases - zero_point(site.input()) * wide.sum(axis=1)
    return channel_table(folded.tolist(), multipliers, all_right), all_right


def bias_of(site: Site, n: int) -> np.ndarray[Any, Any]:
    """Return the biases, zeros where there are none."""
    if not site.has_input(2):
        return np.zeros(n, np.int64)
    data = site.input(2).data
    assert data is not None
    return np.frombuffer(data, "<i4").astype(np.int64)


def constant_int8(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the values of a constant in its shape."""
    assert tensor.data is not None
    return np.frombuffer(tensor.data, np.int8).reshape(tensor.shape)


def struct(name: str, fields: dict[str, int]) -> str:
    """Return a C literal with each field named."""
    return f"(struct {name}){{{', '.join(f'.{k} = {v}' for k, v in fields.items())}}}"


def windows_of(
    options: Mapping[str, Any], source: tuple[int, ...], weights: tuple[int, ...]
) -> tuple[Window, Window]:
    """Return how a filter moves down and to the right."""

    def along(axis: int, side: str) -> Window:
        return window(
            options["padding"], source[axis], weights[axis], options[f"stride_{side}"],
            options[f"dilation_{side}_factor"],
        )  # fmt: skip

    return along(1, "h"), along(2, "w")


def conv_shape(graph: Graph, operator: Operator) -> Convolution:
    """Return the geometry that the reference takes from the options and the input."""
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    options = operator.options
    vertical, horizontal = windows_of(options, source.shape, weights.shape)
    channels, per_filter = source.shape[3], weights.shape[3]
    return Convolution(vertical, horizontal, channels, weights.shape[0], channels // per_filter)


def _emit_conv(site: Site) -> Code:
    weights = constant_int8(site.input(1))
    shape = conv_shape(site.graph, site.operator)
    scales = per_channel(site.input(), site.input(1), site.output(), len(weights))
    return emit_product(site, shape, weights.reshape(len(weights), -1), scales)


def _conv_scratch(graph: Graph, operator: Operator, core: Core) -> int:
    return conv_shape(graph, operator).scratch(core.dsp)


def _conv_overwrites(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """Pixel by pixel: the columns are read before their outputs are written."""
    shape = conv_shape(graph, operator)
    single = all(w.size == w.stride == 1 for w in (shape.vertical, shape.horizontal))
    fits = shape.out_channels <= shape.channels and shape.groups == 1
    return operator.inputs[:1] if single and fits else ()


def refuse_weights(graph: Graph, operator: Operator, per_axis: int) -> str | None:
    """Return what is wrong with the scales, weights, bias or activation of an int8 layer."""
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]]
    if weights.dtype is not DType.INT8:
        return (
            f"{operator.kind} with {weights.dtype} weights and int8 inputs is not supported. "
            "Quantise the weights to int8."
        )
    if weights.data is None:
        return f"{operator.kind} needs constant weights."
    if not is_quantized(source, weights, target):
        return f"{operator.kind}: a tensor has no scale. Quantise the whole model."
    n = weights.shape[per_axis] if per_axis < len(weights.shape) else 0
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        bias = graph.tensors[operator.inputs[2]]
        if bias.data is None or bias.dtype is not DType.INT32 or bias.n_elements != n:
            return f"{operator.kind} needs a constant int32 bias, one an output channel."
    quant = weights.quant
    assert quant is not None
    if len(quant.scales) not in (1, n):
        return f"{operator.kind} has {len(quant.scales)} scales of weights for its channels."
    return refuse_activation(operator)


def _refuse_conv(graph: Graph, operator: Operator) -> str | None:
    reason = refuse_weights(graph, operator, 0)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]]
    if len(source.shape) != 4 or len(weights.shape) != 4 or source.shape[0] != 1:
        return f"CONV_2D of {source.shape} with weights {weights.shape}: one image a time only."
    if source.shape[3] % weights.shape[3] or weights.shape[0] % (
        source.shape[3] // weights.shape[3]
    ):
        return f"CONV_2D: {source.shape[3]} channels do not divide into its groups."
    return refuse_shape(conv_shape(graph, operator), target)


def refuse_shape(shape: Convolution, target: Tensor) -> str | None:
    """Return how the stated output shape differs from the one of the geometry."""
    made = (1, shape.vertical.n_out, shape.horizontal.n_out, shape.out_channels)
    if target.shape != made:
        return f"The output should have the shape {made}, not {target.shape}."
    return None


def _matrix_shape(graph: Graph, operator: Operator) -> Convolution:
    """Rows as pixels, elements as channels."""
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    n_out, n_in = weights.shape
    rows = source.n_elements // n_in
    return Convolution(
        Window(1, 1, 1, 1, 1, 0), Window(rows, rows, 1, 1, 1, 0), n_in, n_out, 1
    )  # fmt: skip


def matrix_multipliers(site: Site, n: int) -> list[Multiplier]:
    """Per channel in double precision; one for all of a float32 product, as the reference."""
    source, weights, target = site.input(), site.input(1), site.output()
    assert weights.quant is not None
    if len(weights.quant.scales) > 1:
        return per_channel(source, weights, target, n)
    product = f32(scale(source) * scale(weights))
    return [multiplier(product / scale(target))] * n


def _emit_matrix(site: Site) -> Code:
    weights = constant_int8(site.input(1))
    shape = _matrix_shape(site.graph, site.operator)
    multipliers = matrix_multipliers(site, len(weights))
    return emit_product(site, shape, weights, multipliers)


def _matrix_scratch(graph: Graph, operator: Operator, core: Core) -> int:
    return _matrix_shape(graph, operator).scratch(core.dsp)


def _refuse_matrix(graph: Graph, operator: Operator) -> str | None:
    reason = refuse_weights(graph, operator, 0)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]]
    if len(weights.shape) != 2 or source.n_elements % weights.shape[1]:
        return f"FULLY_CONNECTED of {source.shape} with weights {weights.shape} does not fit."
    if target.n_elements != source.n_elements // weights.shape[1] * weights.shape[0]:
        return f"FULLY_CONNECTED: the output {target.shape} does not fit."
    if zero_point(weights) != 0:
        return "FULLY_CONNECTED with a zero point of the weights other than 0 is not supported."
    if operator.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return "FULLY_CONNECTED with shuffled weights is not supported."
    return None


ENTRIES = (
    Entry(
        "CONV_2D", 6, (INT8,), _emit_conv, _refuse_conv, _conv_scratch, _conv_overwrites, n_inputs=2
    ),
    Entry(
        "FULLY_CONNECTED", 12, (INT8,), _emit_matrix, _refuse_matrix, _matrix_scratch, n_inputs=2
    ),
)
