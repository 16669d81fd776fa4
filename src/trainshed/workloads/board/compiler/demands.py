"""What several families of operators demand of a graph; each answers a sentence or None."""

from __future__ import annotations

import numpy as np

from trainshed.workloads.board.compiler.arithmetic import is_quantized, scale
from trainshed.workloads.board.compiler.entry import NUMPY
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor


def inputs_of(graph: Graph, operator: Operator) -> list[Tensor]:
    """Return the inputs that are there."""
    return [graph.tensors[i] for i in operator.inputs if i >= 0]


def output_of(graph: Graph, operator: Operator) -> Tensor:
    """Return the first output."""
    return graph.tensors[operator.outputs[0]]


def refuse_unscaled(operator: Operator, *tensors: Tensor) -> str | None:
    """Return which int8 or uint8 tensor has no scale."""
    for tensor in tensors:
        if tensor.dtype in (DType.INT8, DType.UINT8) and not is_quantized(tensor):
            return (
                f"{operator.kind}: tensor {tensor.index} ({tensor.name}) has no scale. "
                "Quantise the whole model."
            )
        if tensor.dtype in (DType.INT8, DType.UINT8) and scale(tensor) <= 0.0:
            return f"{operator.kind}: the scale of tensor {tensor.index} ({tensor.name}) is 0."
    return None


def refuse_types(operator: Operator, dtype: DType, *tensors: Tensor) -> str | None:
    """Return which tensor is not of the type that the operator computes in."""
    for tensor in tensors:
        if tensor.dtype is not dtype:
            return (
                f"{operator.kind} mixes {dtype} with {tensor.dtype} (tensor {tensor.index}, "
                f"{tensor.name}). Quantise the whole model to int8, or leave it float32."
            )
    return None


def refuse_shape(operator: Operator, target: Tensor, made: tuple[int, ...]) -> str | None:
    """Return how the stated output shape differs from what the operator makes."""
    if target.shape == made:
        return None
    return f"{operator.kind}: the output should have the shape {made}, not {target.shape}."


def numbers(tensor: Tensor) -> list[int] | None:
    """Return the integers of a constant, or None when it is none."""
    if tensor.data is None or tensor.dtype not in (DType.INT32, DType.INT64):
        return None
    return [int(v) for v in np.frombuffer(tensor.data, NUMPY[tensor.dtype])]


def refuse_variable(operator: Operator, tensor: Tensor, what: str) -> str | None:
    """Return that a parameter is computed by the model, where it must be a constant int32."""
    if tensor.data is not None and tensor.dtype is DType.INT32:
        return None
    return f"{operator.kind} needs {what} as a constant of type int32."


def first(*reasons: str | None) -> str | None:
    """Return the first reason that is one."""
    return next((reason for reason in reasons if reason is not None), None)
