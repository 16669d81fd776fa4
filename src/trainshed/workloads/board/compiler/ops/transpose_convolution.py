"""TRANSPOSE_CONV, int8 and float32. Its inputs: the output's shape, weights, input, bias."""

from __future__ import annotations

import numpy as np

from trainshed.workloads.board.compiler.arithmetic import (
    activation_of,
    float_range,
    int8_range,
    per_channel,
    refuse_activation,
    window,
    zero_point,
)
from trainshed.workloads.board.compiler.demands import (
    first,
    output_of,
    refuse_shape,
    refuse_types,
    refuse_unscaled,
    refuse_variable,
)
from trainshed.workloads.board.compiler.demands import numbers as numbers_of
from trainshed.workloads.board.compiler.entry import Code, Entry, Site
from trainshed.workloads.board.compiler.ops.convolution import struct
from trainshed.workloads.board.model.graph import DType, Graph, Operator

_HEADER = "transpose_convolution.h"


def _fields(site: Site) -> dict[str, int]:
    """The geometry; padding as of the convolution that this one undoes."""
    weights, source, target = site.input(1), site.input(2), site.output()
    options = site.operator.options
    made = {
        "height": source.shape[1], "width": source.shape[2], "channels": source.shape[3],
        "out_height": target.shape[1], "out_width": target.shape[2],
        "out_channels": target.shape[3], "filter_height": weights.shape[1],
        "filter_width": weights.shape[2], "stride_y": options["stride_h"],
        "stride_x": options["stride_w"],
    }  # fmt: skip
    for axis, name, stride in ((1, "top", "stride_y"), (2, "left", "stride_x")):
        along = window(options["padding"], target.shape[axis], weights.shape[axis], made[stride])
        made[name] = along.before
    return made


def _emit_int8(site: Site) -> Code:
    weights, source, target = site.input(1), site.input(2), site.output()
    n = target.shape[3]
    low, high = int8_range(activation_of(site.operator), target)
    scales = per_channel(source, weights, target, n)
    bias = np.zeros(n, np.int32)
    if site.has_input(3):
        bias = np.frombuffer(site.input(3).data or b"", np.int32)
    table = [(int(b), by.value, by.shift) for b, by in zip(bias, scales, strict=True)]
    name = site.constant("channels", "int32_t", np.array(table, np.int32))
    body = (
        f"    transpose_convolve_int8({site.at(source)}, {site.at(weights)}, {name},\n"
        f"                            {site.at(target)}, {struct('transposed', _fields(site))},\n"
        f"                            {zero_point(source)}, {zero_point(target)}, {low}, {high});"
    )
    return _code(site, body)


def _emit_float(site: Site) -> Code:
    weights, source, target = site.input(1), site.input(2), site.output()
    low, high = float_range(activation_of(site.operator))
    if site.has_input(3):
        bias = site.at(site.input(3))
    else:
        bias = site.constant("bias", "float", [0.0] * target.shape[3])
    body = (
        f"    transpose_convolve_f32({site.at(source)}, {site.at(weights)}, {bias},\n"
        f"                           {site.at(target)}, {struct('transposed', _fields(site))},\n"
        f"                           {low}, {high});"
    )
    return _code(site, body)


def _code(site: Site, body: str) -> Code:
    weights, source, target = site.input(1), site.input(2), site.output()
    n_pixels = source.shape[1] * source.shape[2]
    streamed = target.shape[1] * target.shape[2] * site.weight_bytes
    strides = site.operator.options["stride_h"] * site.operator.options["stride_w"]
    return Code(body, (_HEADER,), n_pixels * weights.n_elements, streamed // strides)


def _refuse(graph: Graph, operator: Operator) -> str | None:
    shape, weights, source, *rest = (graph.tensors[i] for i in operator.inputs if i >= 0)
    target = output_of(graph, operator)
    reason = first(
        refuse_activation(operator),
        refuse_variable(operator, shape, "the output's shape"),
        refuse_types(operator, target.dtype, weights, source),
        refuse_unscaled(operator, weights, source, target),
    )
    if reason is not None:
        return reason
    if weights.data is None or any(bias.data is None for bias in rest):
        return "TRANSPOSE_CONV needs constant weights and a constant bias."
    wanted = DType.INT32 if target.dtype is DType.INT8 else DType.FLOAT32
    if any(b.dtype is not wanted or b.n_elements != weights.shape[0] for b in rest):
        return f"TRANSPOSE_CONV needs a bias of type {wanted}, one for each output channel."
    if len(source.shape) != 4 or len(weights.shape) != 4 or source.shape[0] != 1:
        return f"TRANSPOSE_CONV of {source.shape}: one image of rows, columns, channels only."
    if weights.shape[3] != source.shape[3]:
        return f"TRANSPOSE_CONV: weights {weights.shape} do not fit {source.shape}."
    made = numbers_of(shape) or []
    if len(made) != 4 or made[0] != 1 or made[3] != weights.shape[0]:
        return f"TRANSPOSE_CONV into {made} does not fit weights {weights.shape}."
    return refuse_shape(operator, target, tuple(made))


ENTRIES = (
    Entry("TRANSPOSE_CONV", 5, ((DType.INT32, DType.INT8),), _emit_int8, _refuse),
    Entry("TRANSPOSE_CONV", 5, ((DType.INT32, DType.FLOAT32),), _emit_float, _refuse),
)
