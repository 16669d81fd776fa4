"""Numbers of a layer that are known before it runs, exactly as TensorFlow Lite Micro makes them.

Real scales become a 32-bit multiplier and a power of two; products are taken in the precision the
reference takes them in, because the last bit of an output depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainshed.workloads.board.model.graph import Operator, Quant, Tensor

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
_ONE_Q31 = 1 << 31


@dataclass(frozen=True, slots=True)
class Multiplier:
    """real = ``value`` × 2^(``shift`` − 31); ``shift`` > 0 shifts to the left."""

    value: int
    shift: int


def multiplier(real: float) -> Multiplier:
    """Return a real number as the reference's QuantizeMultiplier does."""
    if real == 0.0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    value = round_half_away(fraction * _ONE_Q31)
    if value == _ONE_Q31:
        value //= 2
        shift += 1
    if shift < -31:
        return Multiplier(0, 0)
    return Multiplier(value, shift) if shift <= 30 else Multiplier(_ONE_Q31 - 1, 30)


def f32(value: float) -> float:
    """Return the nearest float32, as a float."""
    return float(np.float32(value))


def scale(tensor: Tensor) -> float:
    """Return the scale of a tensor that has one."""
    return f32(_quant(tensor).scales[0])


def zero_point(tensor: Tensor) -> int:
    """Return the zero point of a tensor that has one."""
    zero_points = _quant(tensor).zero_points
    return zero_points[0] if zero_points else 0


def per_channel(source: Tensor, weights: Tensor, target: Tensor, n: int) -> list[Multiplier]:
    """Return the n multipliers of a convolution: products in double precision."""
    scales = _quant(weights).scales
    every: Sequence[float] = scales if len(scales) > 1 else scales * n
    s_in, s_out = scale(source), scale(target)
    return [multiplier(s_in * f32(s) / s_out) for s in every]


def is_quantized(*tensors: Tensor) -> bool:
    """Whether each tensor has scales, and no single one of 0."""
    return all(
        t.quant is not None and len(t.quant.scales) > 0 and t.quant.scales != (0.0,)
        for t in tensors
    )


def int8_range(activation: str, target: Tensor) -> tuple[int, int]:
    """Return the smallest and largest stored value that a fused activation leaves."""
    s, zero = np.float32(scale(target)), zero_point(target)

    def stored(real: float) -> int:
        return zero + round_half_away(float(np.float32(real) / s))

    low, high = -128, 127
    if activation in ("RELU", "RELU6"):
        low = max(low, stored(0.0))
    if activation == "RELU6":
        high = min(high, stored(6.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, stored(-1.0)), min(high, stored(1.0))
    return low, high


def float_range(activation: str) -> tuple[str, str]:
    """Return the C literals of the smallest and largest value that a fused activation leaves."""
    low = {"RELU": "0.0f", "RELU6": "0.0f", "RELU_N1_TO_1": "-1.0f"}.get(activation, "-FLT_MAX")
    high = {"RELU6": "6.0f", "RELU_N1_TO_1": "1.0f"}.get(activation, "FLT_MAX")
    return low, high


def activation_of(operator: Operator) -> str:
    """Return the name of the fused activation."""
    return str(operator.options.get("fused_activation_function", "NONE"))


def refuse_activation(operator: Operator) -> str | None:
    """Return why a fused activation cannot be compiled."""
    name = activation_of(operator)
    if name in ACTIVATIONS:
        return None
    return (
        f"The fused activation {name} is not supported, only {', '.join(ACTIVATIONS)}. "
        "Make it an operator of its own."
    )


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves along one axis: sizes in elements, ``before`` padded in front."""

    n_in: int
    n_out: int
    size: int
    stride: int
    dilation: int
    before: int


def window(padding: str, n_in: int, size: int, stride: int, dilation: int = 1) -> Window:
    """Return the reference's padding and output size along one axis."""
    reach = (size - 1) * dilation + 1
    n_out = -(-n_in // stride) if padding == "SAME" else (n_in + stride - reach) // stride
    needed = max((n_out - 1) * stride + reach - n_in, 0)
    return Window(n_in, n_out, size, stride, dilation, needed // 2)


def _quant(tensor: Tensor) -> Quant:
    if tensor.quant is None or not tensor.quant.scales:
        raise ValueError(f"tensor {tensor.index} ({tensor.name}) has no scale")
    return tensor.quant


def round_half_away(value: float) -> int:
    """Return the nearest integer, halves away from zero."""
    return math.floor(abs(value) + 0.5) * (-1 if value < 0 else 1)
