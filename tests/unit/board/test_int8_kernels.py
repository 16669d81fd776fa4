"""The int8 kernels against TensorFlow Lite Micro: random small layers, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.board.batch import MISSING, Case, reference, run
from tests.unit.board.make_model import Maker

SOAK = os.environ.get("TRAINSHED_SOAK") == "1"
N_EACH = 40 if SOAK else 5
N_SETS = 2
SEED = int(os.environ.get("TRAINSHED_SEED", "4"))
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
# Each core has a kernel of its own, but M7 and M33 run the C of M4.
USUAL = ("cortex-m0plus", "cortex-m3", "cortex-m4")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

Rng = np.random.Generator


class Made:
    """A model under construction, with random scales."""

    def __init__(self, rng: Rng) -> None:
        self.maker = Maker()
        self.rng = rng

    def tensor(self, *shape: int) -> int:
        """A tensor of a random scale and zero point."""
        zero = int(self.rng.choice([-128, 0, 127, int(self.rng.integers(-128, 128))]))
        return self.maker.tensor(shape, scale=float(self.rng.uniform(0.005, 0.2)), zero=zero)

    def weights(self, *shape: int, axis: int = 0, per_channel: bool = True) -> int:
        """Random constant weights, one scale a channel or one for all."""
        n = shape[axis] if per_channel else 1
        values = self.rng.integers(-127, 128, shape, dtype=np.int8)
        scales = self.rng.uniform(0.0005, 0.05, n)
        return self.maker.constant(values, [float(s) for s in scales], 0, axis)

    def bias(self, n: int, x: int, w: int) -> list[int]:
        """Random biases on the scales of the products, or none (the reference crashes on −1)."""
        if self.chance(0.2):
            return []
        values = self.rng.integers(-20000, 20000, n, dtype=np.int32)
        scales = np.float32(self.scale(x)) * self.scale(w)
        return [self.maker.constant(values, [float(s) for s in scales])]

    def scale(self, tensor: int) -> np.ndarray[Any, Any]:
        """The scales of a tensor."""
        return np.asarray(self.maker.graph.tensors[tensor].quantization.scale, np.float32)

    def chance(self, p: float) -> bool:
        """True p of the time."""
        return bool(self.rng.random() < p)

    def size(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(least, most + 1))

    def choice(self, *names: str) -> str:
        """One of the names."""
        return str(self.rng.choice(names))

    def case(self, inputs: list[int], output: int) -> Case:
        """Pack, with random inputs."""
        data = self.maker.pack(inputs, [output])
        tensors = self.maker.graph.tensors
        sets = [
            [
                self.rng.integers(-128, 128, tensors[i].shape, dtype=np.int8).tobytes()
                for i in inputs
            ]
            for _ in range(N_SETS)
        ]
        return Case(data, sets)


def moved(n_in: int, size: int, stride: int, dilation: int, padding: str) -> int:
    """How many steps a window makes."""
    reach = (size - 1) * dilation + 1
    return -(-n_in // stride) if padding == "SAME" else (n_in - reach) // stride + 1


def window(m: Made, most: int) -> tuple[str, list[int], list[int], list[int], list[int], list[int]]:
    """Padding; then for both axes the size of the image, filter, stride, dilation and output."""
    while True:
        padding = m.choice("SAME", "VALID")
        image = [m.size(1, 11), m.size(1, 11)]
        filters = [m.size(1, most), m.size(1, most)]
        dilated = m.chance(0.25)
        strides = [1, 1] if dilated else [m.size(1, 3), m.size(1, 3)]
        dilations = [m.size(1, 3), m.size(1, 3)] if dilated else [1, 1]
        out = [
            moved(*axis, padding) for axis in zip(image, filters, strides, dilations, strict=True)
        ]
        if min(out) >= 1:
            return padding, image, filters, strides, dilations, out


def convolution(m: Made) -> Case:
    """CONV_2D, at times grouped, of one pixel or dilated."""
    padding, image, filters, strides, dilations, out = window(m, m.size(1, 4))
    groups = m.size(2, 3) if m.chance(0.2) else 1
    per_group, n_out = m.size(1, 9), groups * m.size(1, 9)
    x = m.tensor(1, *image, per_group * groups)
    w = m.weights(n_out, *filters, per_group, per_channel=m.chance(0.8))
    y = m.tensor(1, *out, n_out)
    m.maker.operator(
        "CONV_2D", [x, w, *m.bias(n_out, x, w)], [y], padding=padding, stride_h=strides[0],
        stride_w=strides[1], dilation_h_factor=dilations[0], dilation_w_factor=dilations[1],
        fused_activation_function=m.choice(*ACTIVATIONS),
    )  # fmt: skip
    return m.case([x], y)


def depthwise(m: Made) -> Case:
    """DEPTHWISE_CONV_2D of any multiplier, often 3 × 3."""
    padding, image, filters, strides, dilations, out = window(m, 5)
    if m.chance(0.5) and padding == "SAME" and dilations == [1, 1]:
        filters = [3, 3]
    channels, multiplier = m.size(1, 9), m.size(2, 3) if m.chance(0.3) else 1
    x = m.tensor(1, *image, channels)
    w = m.weights(1, *filters, channels * multiplier, axis=3)
    y = m.tensor(1, *out, channels * multiplier)
    m.maker.operator(
        "DEPTHWISE_CONV_2D", [x, w, *m.bias(channels * multiplier, x, w)], [y], padding=padding,
        stride_h=strides[0], stride_w=strides[1], depth_multiplier=multiplier,
        dilation_h_factor=dilations[0], dilation_w_factor=dilations[1],
        fused_activation_function=m.choice(*ACTIVATIONS),
    )  # fmt: skip
    return m.case([x], y)


def matrix(m: Made) -> Case:
    """FULLY_CONNECTED, with one scale of weights or one a channel, of one or more rows."""
    rows, n_in, n_out = m.size(1, 3), m.size(1, 70), m.size(1, 13)
    x, y = m.tensor(rows, n_in), m.tensor(rows, n_out)
    w = m.weights(n_out, n_in, per_channel=m.chance(0.5))
    m.maker.operator(
        "FULLY_CONNECTED", [x, w, *m.bias(n_out, x, w)], [y],
        fused_activation_function=m.choice(*ACTIVATIONS),
    )  # fmt: skip
    return m.case([x], y)


def pooling(m: Made) -> Case:
    """Both kinds of pooling."""
    padding, image, filters, strides, _, out = window(m, 4)
    out = [moved(n, f, s, 1, padding) for n, f, s in zip(image, filters, strides, strict=True)]
    if min(out) < 1:
        return pooling(m)
    channels = m.size(1, 9)
    zero, scale = m.size(-128, 127), float(m.rng.uniform(0.01, 0.1))
    x = m.maker.tensor((1, *image, channels), scale=scale, zero=zero)
    y = m.maker.tensor((1, *out, channels), scale=scale, zero=zero)
    m.maker.operator(
        m.choice("AVERAGE_POOL_2D", "MAX_POOL_2D"), [x], [y], padding=padding,
        filter_height=filters[0], filter_width=filters[1], stride_h=strides[0],
        stride_w=strides[1], fused_activation_function=m.choice(*ACTIVATIONS),
    )  # fmt: skip
    return m.case([x], y)


def addition(m: Made) -> Case:
    """ADD of equal shapes, repeated ones, and with a constant."""
    shape = [m.size(1, 4) for _ in range(m.size(1, 4))]
    other = [1 if m.chance(0.4) else n for n in shape][m.size(0, len(shape) - 1) :]
    other = shape if m.chance(0.4) else other
    x, y = m.tensor(*shape), m.tensor(*shape)
    inputs = [x]
    if m.chance(0.3):
        b = m.weights(*other, per_channel=False)
    else:
        b = m.tensor(*other)
        inputs.append(b)
    pair = [x, b] if m.chance(0.5) else [b, x]
    m.maker.operator("ADD", pair, [y], fused_activation_function=m.choice(*ACTIVATIONS))
    return m.case(inputs, y)


def softmax(m: Made) -> Case:
    """SOFTMAX over the last dimension."""
    shape = [m.size(1, 3) for _ in range(m.size(0, 2))] + [m.size(1, 20)]
    x = m.tensor(*shape)
    y = m.maker.tensor(shape, scale=1 / 256, zero=-128)
    m.maker.operator("SOFTMAX", [x], [y], beta=float(m.rng.choice([1.0, 0.5])))
    return m.case([x], y)


def chain(m: Made) -> Case:
    """Layers that follow each other in one place, with a branch that is added at the end."""
    channels, side = m.size(1, 6), m.size(3, 8)
    x = m.tensor(1, side, side, channels)
    kept = at = x
    for _ in range(m.size(2, 4)):
        made = m.tensor(1, side, side, channels)
        if m.chance(0.5):
            w = m.weights(1, 3, 3, channels, axis=3)
            m.maker.operator(
                "DEPTHWISE_CONV_2D", [at, w, *m.bias(channels, at, w)], [made], padding="SAME",
                stride_h=1, stride_w=1, depth_multiplier=1,
            )  # fmt: skip
        else:
            w = m.weights(channels, 1, 1, channels)
            m.maker.operator(
                "CONV_2D", [at, w, *m.bias(channels, at, w)], [made], padding="VALID", stride_h=1,
                stride_w=1,
            )  # fmt: skip
        kept, at = (at, made) if m.chance(0.5) else (kept, made)
    y = m.tensor(1, side, side, channels)
    m.maker.operator("ADD", [at, kept], [y])
    flat = m.maker.tensor(
        (1, side * side * channels), scale=float(m.scale(y)[0]),
        zero=int(m.maker.graph.tensors[y].quantization.zeroPoint[0]),
    )  # fmt: skip
    shape = np.array([1, side * side * channels], np.int32)
    m.maker.operator("RESHAPE", [y, m.maker.constant(shape)], [flat], new_shape=shape.tolist())
    return m.case([x], flat)


KINDS: tuple[Callable[[Made], Case], ...] = (
    convolution, depthwise, matrix, pooling, addition, softmax, chain,
)  # fmt: skip


@pytest.mark.parametrize("core", CORES if SOAK else USUAL)
def test_random_layers_give_the_reference_s_bytes(core: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED + CORES.index(core))
    kinds = [kind for kind in KINDS for _ in range(N_EACH)]
    cases = [kind(Made(rng)) for kind in kinds]
    answers = run(cases, core, tmp_path)
    wrong = [
        f"{i} {kind.__name__}"
        for i, (kind, case, ours) in enumerate(zip(kinds, cases, answers, strict=True))
        if ours != reference(case)
    ]
    assert not wrong
