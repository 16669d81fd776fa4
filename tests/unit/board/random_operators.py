"""How a random graph grows by one operator: what it takes, and what it draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.unit.board.random_graphs import ACTIVATIONS, MAX_ELEMENTS, Grower, Value


@dataclass(frozen=True)
class Growth:
    """``takes``: whether it can read a value; ``grow``: add it."""

    name: str
    takes: Callable[[Value], bool]
    grow: Callable[[Grower, Value], None]


def usual(x: Value) -> bool:
    """int8 or float32 whose bits are the reference's."""
    return x.dtype in ("int8", "float32") and x.exact


def any_bits(x: Value) -> bool:
    """int8 or float32, exact or not: for operators that only move."""
    return x.dtype in ("int8", "float32")


def image(x: Value) -> bool:
    """One image to compute with."""
    return usual(x) and x.is_image


def unary(kind: str) -> Growth:
    """RELU and its kin, with a scale of its own."""

    def grow(g: Grower, x: Value) -> None:
        options: dict[str, Any] = {}
        scale = g.near(x.scale)
        if kind == "LEAKY_RELU":
            options["alpha"] = g.choose((0.1, 0.3, 0.01, 1.5, -0.2))
        if kind == "HARD_SWISH" and x.dtype == "int8":
            scale = float(np.float32(x.scale * 2.0 ** g.number(-6, 9)))
        g.operator(kind, [x], [g.value(x.shape, x.dtype, scale=scale)], **options)

    return Growth(kind, usual, grow)


def sigmoid(kind: str, zero: int) -> Growth:
    """Results from the C library's exp or tanh: not the same bits."""

    def grow(g: Grower, x: Value) -> None:
        scale = 1 / 256 if g.flag() else g.scale()
        y = g.value(x.shape, x.dtype, scale=scale, zero=zero, exact=False)
        g.operator(kind, [x], [y])

    return Growth(kind, usual, grow)


def softmax(g: Grower, x: Value) -> None:
    """Of the last dimension."""
    y = g.value(x.shape, x.dtype, scale=1 / 256, zero=-128, exact=False)
    g.operator("SOFTMAX", [x], [y], beta=g.choose((1.0, 0.5, 2.0)))


def takes_softmax(x: Value) -> bool:
    """A scale so small has no multiplier in the reference."""
    return usual(x) and len(x.shape) <= 4 and (x.dtype == "float32" or x.scale > 2.0**-20)


def pair(kind: str) -> Growth:
    """ADD, SUB or MUL with a constant, the same shape, or another shape that stretches."""

    def grow(g: Grower, x: Value) -> None:
        other = tuple(g.choose((n, 1)) for n in x.shape)[g.number(0, len(x.shape) - 1) :]
        peers = [v for v in g.values if v.shape == x.shape and v.dtype == x.dtype and v.exact]
        scale = float(np.float32(x.scale * 2.0 ** g.number(-3, 3))) if x.dtype == "int8" else 0.0
        how = g.choose(("peer", "constant", "input"))
        y: Value | int
        if how == "peer" and peers:
            y = g.choose(peers)
        elif how == "constant":
            y = numbers(g, other, x.dtype, scale, g.zero())
        else:
            y = g.value(other, x.dtype, scale=scale)
            g.inputs.append(y)
        second = y.scale if isinstance(y, Value) else scale
        usual_scale = 64 * x.scale * second if kind == "MUL" else max(x.scale, second)
        operands = [x, y] if g.flag() else [y, x]
        # A sum's scale must not be far below those of its operands: the reference refuses.
        near = max(g.near(usual_scale), 0.0 if kind == "MUL" else usual_scale * 2.0**-10)
        out = g.value(x.shape, x.dtype, scale=near)
        g.operator(kind, operands, [out], fused_activation_function=g.choose(ACTIVATIONS))

    return Growth(kind, usual, grow)


def numbers(g: Grower, shape: tuple[int, ...], dtype: str, scale: float, zero: int) -> int:
    """A constant of random values."""
    if dtype == "float32":
        return g.constant(g.rng.normal(size=shape).astype(np.float32))
    return g.constant(g.rng.integers(-128, 128, shape, np.int8), scale, zero)


def prelu(g: Grower, x: Value) -> None:
    """A slope for each element or along some dimensions."""
    slope = tuple(g.choose((1, n)) for n in x.shape)
    slope = slope[g.number(0, len(slope) - 1) :]
    alpha = numbers(g, slope, x.dtype, g.scale(-9, -5), g.zero())
    g.operator("PRELU", [x, alpha], [g.value(x.shape, x.dtype, scale=g.near(x.scale))])


def window(g: Grower, n: int, size: int, stride: int, dilation: int, padding: str) -> int:
    """The size of the output; 0 where the filter does not fit."""
    reach = (size - 1) * dilation + 1
    return -(-n // stride) if padding == "SAME" else max((n - reach) // stride + 1, 0)


@dataclass(frozen=True)
class Geometry:
    """How a filter is laid over an image, and what comes out."""

    size: tuple[int, int]
    out: tuple[int, int]
    options: dict[str, Any]


def geometry(g: Grower, x: Value, dilated: bool) -> Geometry:
    """Draw a filter that fits."""
    padding = g.choose(("SAME", "VALID"))
    sizes, strides, dilations, out = [], [], [], []
    for n in x.shape[1:3]:
        size = g.number(1, min(n, 4) if padding == "VALID" else 4)
        most = (n - 1) // max(size - 1, 1) if padding == "VALID" else 3
        dilation = g.number(1, max(1, min(3, most))) if dilated else 1
        stride = g.number(1, 3)
        sizes.append(size)
        strides.append(stride)
        dilations.append(dilation)
        out.append(window(g, n, size, stride, dilation, padding))
    options = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1]}
    if dilated:
        options |= {"dilation_h_factor": dilations[0], "dilation_w_factor": dilations[1]}
    return Geometry((sizes[0], sizes[1]), (out[0], out[1]), options)


def weights(g: Grower, x: Value, shape: tuple[int, ...], axis: int) -> tuple[int, list[float]]:
    """Weights, and for int8 their scales: one for each channel."""
    if x.dtype == "float32":
        return g.constant(g.rng.normal(size=shape).astype(np.float32)), []
    scales = [g.scale(-9, -4) * (1 + i / 8) for i in range(shape[axis])]
    array = g.rng.integers(-127, 128, shape, np.int8)
    return g.constant(array, scales, 0, axis), scales


def bias(g: Grower, x: Value, n: int, scales: list[float]) -> int:
    """A bias of the type that goes with the weights."""
    if x.dtype == "float32":
        return g.constant(g.rng.normal(size=n).astype(np.float32))
    return g.constant(g.rng.integers(-3000, 3000, n, np.int32), [x.scale * s for s in scales])


def of_sum(g: Grower, x: Value, scales: list[float], n: int) -> float | None:
    """A scale for the sum of so many random products."""
    return g.near(100 * x.scale * max(scales) * math.sqrt(n)) if scales else None


def conv(g: Grower, x: Value) -> None:
    """CONV_2D, now and then in groups, with or without bias."""
    shape = geometry(g, x, dilated=True)
    groups = g.choose([n for n in (1, 2, 3) if x.shape[3] % n == 0])
    channels = groups * g.number(1, 9 // groups)
    w, scales = weights(g, x, (channels, *shape.size, x.shape[3] // groups), 0)
    inputs: list[Value | int] = [x, w]
    if g.flag():
        inputs.append(bias(g, x, channels, scales))
    _finish_conv(g, "CONV_2D", inputs, x, (1, *shape.out, channels), shape.options,
                 scales, math.prod(shape.size) * x.shape[3])  # fmt: skip


def depthwise(g: Grower, x: Value) -> None:
    """DEPTHWISE_CONV_2D with one to three outputs for an input."""
    shape = geometry(g, x, dilated=True)
    multiplier = g.number(1, 3)
    channels = x.shape[3] * multiplier
    w, scales = weights(g, x, (1, *shape.size, channels), 3)
    inputs: list[Value | int] = [x, w, bias(g, x, channels, scales)]
    options = shape.options | {"depth_multiplier": multiplier}
    _finish_conv(g, "DEPTHWISE_CONV_2D", inputs, x, (1, *shape.out, channels), options, scales,
                 math.prod(shape.size))  # fmt: skip


def transpose_conv(g: Grower, x: Value) -> None:
    """TRANSPOSE_CONV into any size that the stride can reach, and some that it cannot."""
    padding = g.choose(("SAME", "VALID"))
    size, stride = [g.number(1, 4), g.number(1, 4)], [g.number(1, 3), g.number(1, 3)]
    out = []
    for n, k, s in zip(x.shape[1:3], size, stride, strict=True):
        smallest = (n - 1) * s + 1 if padding == "SAME" else (n - 1) * s + k
        out.append(smallest + g.number(0, s - 1))
    channels = g.number(1, 5)
    w, scales = weights(g, x, (channels, *size, x.shape[3]), 0)
    target = (1, *out, channels)
    inputs: list[Value | int] = [g.integers(target), w, x]
    if g.flag():
        inputs.append(bias(g, x, channels, scales))
    options = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1]}
    _finish_conv(g, "TRANSPOSE_CONV", inputs, x, target, options, scales, 4 * x.shape[3])


def _finish_conv(
    g: Grower, kind: str, inputs: list[Value | int], x: Value, shape: tuple[int, ...],
    options: dict[str, Any], scales: list[float], n_in: int,
) -> None:  # fmt: skip
    y = g.value(shape, x.dtype, scale=of_sum(g, x, scales, n_in))
    g.operator(kind, inputs, [y], fused_activation_function=g.choose(ACTIVATIONS), **options)


def dense(g: Grower, x: Value) -> None:
    """FULLY_CONNECTED over the last dimension or the whole, per tensor or per channel."""
    whole = g.flag()
    n_in = x.n if whole else x.shape[-1]
    n_out = g.number(1, 12)
    scales: list[float] = []
    if x.dtype == "float32":
        w = g.constant(g.rng.normal(size=(n_out, n_in)).astype(np.float32))
    else:
        scales = [g.scale(-9, -4) for _ in range(n_out if g.flag() else 1)]
        w = g.constant(g.rng.integers(-127, 128, (n_out, n_in), np.int8), scales, 0, 0)
    b = bias(g, x, n_out, scales * (n_out // len(scales)) if scales else []) if g.flag() else -1
    keep = not whole
    shape = (*x.shape[:-1], n_out) if keep else (1, n_out)
    y = g.value(shape, x.dtype, scale=of_sum(g, x, scales, n_in))
    g.operator("FULLY_CONNECTED", [x, w, b], [y], keep_num_dims=keep,
               fused_activation_function=g.choose(ACTIVATIONS))  # fmt: skip


def pool(kind: str) -> Growth:
    """Without a change of scale."""

    def grow(g: Grower, x: Value) -> None:
        shape = geometry(g, x, dilated=False)
        y = g.value((1, *shape.out, x.shape[3]), x.dtype, x)
        g.operator(kind, [x], [y], filter_height=shape.size[0], filter_width=shape.size[1],
                   fused_activation_function=g.choose(ACTIVATIONS), **shape.options)  # fmt: skip

    return Growth(kind, image, grow)


def mean(g: Grower, x: Value) -> None:
    """Over some dimensions, written from the front or the back, kept or dropped."""
    rank = len(x.shape)
    axes = [i for i in range(rank) if g.flag()] or [rank - 1]
    if rank == 5 and axes == [0, 2, 4]:
        axes = [0, 2]
    keep = g.flag()
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
    written = [i - rank if g.flag() else i for i in axes]
    y = g.value(shape, x.dtype, scale=g.near(x.scale))
    g.operator("MEAN", [x, g.integers(written)], [y], keep_dims=keep)


def quantize(g: Grower, x: Value) -> None:
    """float32 or int8 to int8 of another scale, or to uint8."""
    made = "uint8" if x.dtype == "int8" and g.number(0, 3) == 0 else "int8"
    zero = g.number(0, 255) if made == "uint8" else None
    y = g.value(x.shape, made, scale=g.near(x.scale or 0.05), zero=zero)
    g.operator("QUANTIZE", [x], [y])


def from_uint8(g: Grower, x: Value) -> None:
    """uint8 to int8."""
    g.operator("QUANTIZE", [x], [g.value(x.shape, "int8", scale=g.near(x.scale))])


def dequantize(g: Grower, x: Value) -> None:
    """int8 or uint8 to float32."""
    g.operator("DEQUANTIZE", [x], [g.value(x.shape, "float32")])


def reshape(g: Grower, x: Value) -> None:
    """RESHAPE, EXPAND_DIMS or SQUEEZE."""
    how = g.choose(("RESHAPE", "EXPAND_DIMS", "SQUEEZE"))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    if how == "EXPAND_DIMS" and len(x.shape) < 5:
        axis = g.number(0, len(x.shape))
        shape = [*x.shape[:axis], 1, *x.shape[axis:]]
        g.operator(how, [x, g.integers([axis])], [_same(g, x, shape)])
    elif how == "SQUEEZE" and 0 < len(ones) < len(x.shape):
        dropped = ones[: g.number(1, len(ones))]
        shape = [n for i, n in enumerate(x.shape) if i not in dropped]
        g.operator(how, [x], [_same(g, x, shape)], squeeze_dims=dropped)
    else:
        shape = [x.n] if g.flag() else [x.n // x.shape[-1], x.shape[-1]]
        g.operator("RESHAPE", [x, g.integers(shape)], [_same(g, x, shape)], new_shape=shape)


def _same(g: Grower, x: Value, shape: Any) -> Value:
    return g.value(shape, x.dtype, x, exact=x.exact)


def transpose(g: Grower, x: Value) -> None:
    """Any order of the dimensions."""
    order = list(range(len(x.shape)))
    for i in range(len(order) - 1):
        k = g.number(i, len(order) - 1)
        order[i], order[k] = order[k], order[i]
    y = _same(g, x, [x.shape[i] for i in order])
    g.operator("TRANSPOSE", [x, g.integers(order)], [y])


def pad(g: Grower, x: Value) -> None:
    """Any widths; the output may have a zero point of its own."""
    widths = [[g.number(0, 2), g.number(0, 2)] for _ in x.shape]
    shape = [n + sum(w) for n, w in zip(x.shape, widths, strict=True)]
    g.operator("PAD", [x, g.integers(widths)], [_same(g, x, shape)])


def strided_slice(g: Grower, x: Value) -> None:
    """Forwards and backwards, with open ends and dropped dimensions."""
    begin, end, steps, shape = [], [], [], []
    masks = {"begin_mask": 0, "end_mask": 0, "shrink_axis_mask": 0}
    for i, n in enumerate(x.shape):
        at = g.number(0, n - 1)
        step = g.choose((1, 2, -1, -2, 3))
        how = g.choose(("part", "open", "shrink"))
        if how == "shrink" and len(x.shape) > 1:
            masks["shrink_axis_mask"] |= 1 << i
            begin.append(at - n if g.flag() else at)
            end.append(begin[-1] + 1)
            steps.append(1)
            continue
        stop = g.number(at + 1, n) if step > 0 else g.number(-n - 1, at - n - 1)
        if how == "open":
            masks["begin_mask"] |= 1 << i
            masks["end_mask"] |= 1 << i
            shape.append(len(range(n)[::step]))
        else:
            shape.append(len(range(n)[slice(at, stop, step)]))
        begin.append(at)
        end.append(stop)
        steps.append(step)
    if not shape:
        return
    inputs = [x, *(g.integers(part) for part in (begin, end, steps))]
    g.operator("STRIDED_SLICE", inputs, [_same(g, x, shape)], **masks)


def split(g: Grower, x: Value) -> None:
    """Into equal parts along a dimension."""
    axis = g.number(0, len(x.shape) - 1)
    parts = g.choose([n for n in (1, 2, 3, 4) if x.shape[axis] % n == 0])
    shape = [n // parts if i == axis else n for i, n in enumerate(x.shape)]
    outputs = [_same(g, x, shape) for _ in range(parts)]
    written = axis - len(x.shape) if g.flag() else axis
    g.operator("SPLIT", [g.integers([written]), x], outputs, num_splits=parts)


def concatenate(g: Grower, x: Value) -> None:
    """With itself, with constants and with others of the same scale."""
    axis = g.number(0, len(x.shape) - 1)
    others = [
        v for v in g.values
        if (v.dtype, v.scale, v.zero) == (x.dtype, x.scale, x.zero) and len(v.shape) == len(x.shape)
        and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=True)) if i != axis)
    ]  # fmt: skip
    parts: list[Value | int] = [x]
    length, exact = x.shape[axis], x.exact
    for _ in range(g.number(1, 3)):
        if g.flag():
            other = g.choose(others)
            parts.append(other)
            length, exact = length + other.shape[axis], exact and other.exact
        else:
            shape = tuple(2 if i == axis else n for i, n in enumerate(x.shape))
            parts.append(numbers(g, shape, x.dtype, x.scale, x.zero))
            length += 2
    y = g.value(
        [length if i == axis else n for i, n in enumerate(x.shape)], x.dtype, x, exact=exact
    )
    g.operator("CONCATENATION", parts, [y], axis=axis - len(x.shape) if g.flag() else axis)


def resize(g: Grower, x: Value) -> None:
    """To the nearest, three ways of saying where."""
    height, width = g.number(1, 9), g.number(1, 9)
    options = g.choose(({}, {"align_corners": True}, {"half_pixel_centers": True}))
    y = _same(g, x, (x.shape[0], height, width, x.shape[3]))
    g.operator("RESIZE_NEAREST_NEIGHBOR", [x, g.integers([height, width])], [y], **options)


def small(x: Value) -> bool:
    """What may still grow."""
    return any_bits(x) and x.n <= MAX_ELEMENTS


def rank(most: int) -> Callable[[Value], bool]:
    """At most so many dimensions."""
    return lambda x: small(x) and len(x.shape) <= most


def exact_rank(most: int) -> Callable[[Value], bool]:
    """The same, to compute with."""
    return lambda x: usual(x) and len(x.shape) <= most


OPERATORS = (
    Growth("CONV_2D", image, conv), Growth("DEPTHWISE_CONV_2D", image, depthwise),
    Growth("FULLY_CONNECTED", usual, dense), pool("MAX_POOL_2D"), pool("AVERAGE_POOL_2D"),
    pair("ADD"), pair("SUB"), pair("MUL"), Growth("CONCATENATION", small, concatenate),
    Growth("PAD", rank(4), pad), Growth("RESHAPE", any_bits, reshape),
    Growth("TRANSPOSE", rank(5), transpose), Growth("MEAN", exact_rank(5), mean),
    Growth("SOFTMAX", takes_softmax, softmax), sigmoid("LOGISTIC", -128), sigmoid("TANH", 0),
    unary("RELU"), unary("RELU6"), unary("LEAKY_RELU"), unary("HARD_SWISH"),
    Growth("PRELU", exact_rank(4), prelu), Growth("QUANTIZE", usual, quantize),
    Growth("QUANTIZE", lambda x: x.dtype == "uint8", from_uint8),
    Growth("DEQUANTIZE", lambda x: x.dtype in ("int8", "uint8"), dequantize),
    Growth("STRIDED_SLICE", rank(4), strided_slice), Growth("SPLIT", any_bits, split),
    Growth("RESIZE_NEAREST_NEIGHBOR", lambda x: small(x) and x.is_image, resize),
    Growth("TRANSPOSE_CONV", lambda x: image(x) and math.prod(x.shape[1:3]) <= 25, transpose_conv),
)  # fmt: skip
