"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, the poolings and SOFTMAX of float32."""

from __future__ import annotations

from trainshed.workloads.board.compiler.arithmetic import (
    activation_of,
    f32,
    float_range,
    refuse_activation,
)
from trainshed.workloads.board.compiler.demands import first, output_of, refuse_types
from trainshed.workloads.board.compiler.entry import FLOAT, Code, Entry, Site, float_literal
from trainshed.workloads.board.compiler.ops.convolution import (
    Convolution,
    conv_shape,
    refuse_shape,
    struct,
)
from trainshed.workloads.board.compiler.ops.depthwise import depthwise_shape
from trainshed.workloads.board.compiler.ops.pooling import (
    overwrites_pool,
    pool_fields,
    refuse_pool,
)
from trainshed.workloads.board.model.graph import DType, Graph, Operator

_LAYERS = "layers_float32.h"


def _bias(site: Site, n: int) -> str:
    if site.has_input(2):
        return site.at(site.input(2))
    return site.constant("bias", "float", [0.0] * n)


def _convolution(site: Site, function: str, shape: Convolution) -> Code:
    source, weights, target = site.input(), site.input(1), site.output()
    low, high = float_range(activation_of(site.operator))
    v, h = shape.vertical, shape.horizontal
    fields = {
        "height": v.n_in, "width": h.n_in, "channels": shape.channels, "out_height": v.n_out,
        "out_width": h.n_out, "out_channels": shape.out_channels, "filter_height": v.size,
        "filter_width": h.size, "stride_y": v.stride, "stride_x": h.stride,
        "dilation_y": v.dilation, "dilation_x": h.dilation, "top": v.before, "left": h.before,
        "groups": shape.groups,
    }  # fmt: skip
    bias = _bias(site, shape.out_channels)
    body = (
        f"    {function}({site.at(source)}, {site.at(weights)}, {bias},\n"
        f"        {site.at(target)}, {struct('convolution_f32', fields)}, {low}, {high});"
    )
    macs = shape.n_pixels * weights.n_elements
    return Code(body, (_LAYERS,), macs, shape.n_pixels * site.weight_bytes)


def _conv(site: Site) -> Code:
    return _convolution(site, "convolve_f32", conv_shape(site.graph, site.operator))


def _depthwise(site: Site) -> Code:
    return _convolution(site, "depthwise_f32", depthwise_shape(site.graph, site.operator))


def _matrix(site: Site) -> Code:
    source, weights, target = site.input(), site.input(1), site.output()
    low, high = float_range(activation_of(site.operator))
    n_out, n_in = weights.shape
    rows = source.n_elements // n_in
    body = (
        f"    multiply_f32({site.at(source)}, {site.at(weights)}, {_bias(site, n_out)},\n"
        f"        {site.at(target)}, {rows}, {n_in}, {n_out}, {low}, {high});"
    )
    return Code(body, (_LAYERS,), rows * n_in * n_out, rows * site.weight_bytes)


def _pool(site: Site) -> Code:
    low, high = float_range(activation_of(site.operator))
    average = int(site.operator.kind == "AVERAGE_POOL_2D")
    fields = pool_fields(site.graph, site.operator)
    body = (
        f"    pool_f32({site.at(site.input())}, {site.at(site.output())}, {average},\n"
        f"        {struct('pooling_f32', fields)}, {low}, {high});"
    )
    return Code(body, (_LAYERS,))


def _softmax(site: Site) -> Code:
    source, target = site.input(), site.output()
    n = source.shape[-1]
    beta = float_literal(f32(site.operator.options["beta"]))
    body = (
        f"    softmax_f32({site.at(source)}, {site.at(target)}, {source.n_elements // n}, {n}, "
        f"{beta});"
    )
    return Code(body, ("float32.h",))


def _refuse_weights(graph: Graph, operator: Operator) -> str | None:
    source, weights, *bias = (graph.tensors[i] for i in operator.inputs if i >= 0)
    target = output_of(graph, operator)
    if weights.dtype is DType.INT8:
        return (
            f"{operator.kind} with int8 weights and float32 inputs (a hybrid model) is not "
            "supported. Quantise the whole model to int8."
        )
    if any(tensor.data is None for tensor in (weights, *bias)):
        return f"{operator.kind} needs constant weights and a constant bias."
    return first(
        refuse_types(operator, source.dtype, weights, *bias, target), refuse_activation(operator)
    )


def _refuse_images(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse_weights(graph, operator)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i].shape for i in operator.inputs[:2])
    if len(source) != 4 or len(weights) != 4 or source[0] != 1:
        return f"{operator.kind} of {source}: one image of rows, columns, channels only."
    return None


def _refuse_conv(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse_images(graph, operator)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i].shape for i in operator.inputs[:2])
    if source[3] % weights[3] or weights[0] % (source[3] // weights[3]):
        return f"CONV_2D: {source[3]} channels do not divide into its groups."
    return refuse_shape(conv_shape(graph, operator), output_of(graph, operator))


def _refuse_depthwise(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse_images(graph, operator)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i].shape for i in operator.inputs[:2])
    if weights[0] != 1 or weights[3] % source[3]:
        return f"DEPTHWISE_CONV_2D: weights {weights} do not fit {source}."
    return refuse_shape(depthwise_shape(graph, operator), output_of(graph, operator))


def _refuse_matrix(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse_weights(graph, operator)
    if reason is not None:
        return reason
    source, weights = (graph.tensors[i] for i in operator.inputs[:2])
    if len(weights.shape) != 2 or source.n_elements % weights.shape[1]:
        return f"FULLY_CONNECTED of {source.shape} with weights {weights.shape} does not fit."
    n = source.n_elements // weights.shape[1] * weights.shape[0]
    if output_of(graph, operator).n_elements != n:
        return f"FULLY_CONNECTED: the output should have {n} elements."
    return None


def _refuse_softmax(graph: Graph, operator: Operator) -> str | None:
    source = graph.tensors[operator.inputs[0]]
    if not 1 <= len(source.shape) <= 4 or source.n_elements == 0:
        return f"SOFTMAX of shape {source.shape} is not supported."
    return None


ENTRIES = (
    Entry("CONV_2D", 6, (FLOAT,), _conv, _refuse_conv),
    Entry("DEPTHWISE_CONV_2D", 7, (FLOAT,), _depthwise, _refuse_depthwise),
    Entry("FULLY_CONNECTED", 12, (FLOAT,), _matrix, _refuse_matrix),
    Entry("AVERAGE_POOL_2D", 3, (FLOAT,), _pool, refuse_pool, overwrites=overwrites_pool),
    Entry("MAX_POOL_2D", 3, (FLOAT,), _pool, refuse_pool, overwrites=overwrites_pool),
    Entry("SOFTMAX", 3, (FLOAT,), _softmax, _refuse_softmax),
)
