"""Layers with float weights, written as an int8 TensorFlow Lite file.

The numbers of operators, types and slots are those of TensorFlow Lite's ``schema.fbs``, version 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from trainshed.bootstrap.demo.flatbuffer import Table, flatbuffer

INT32, INT8 = 2, 9
RELU = 1
SAME, VALID = 0, 1


class Scale(NamedTuple):
    """real = scale × (int8 − zero)."""

    scale: float
    zero: int

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Return what covers ``values`` and 0."""
        least, most = min(0.0, float(values.min())), max(0.0, float(values.max()))
        scale = (most - least) / 255 or 1.0
        return cls(scale, round(-128 - least / scale))


class Layer(Protocol):
    """Adds itself to a file behind the tensor ``source``; returns its own tensor."""

    def write(self, file: File, source: int) -> int: ...


class File:
    """A model that grows tensor by tensor."""

    def __init__(self) -> None:
        self.codes: list[Table] = []
        self.tensors: list[Table] = []
        self.operators: list[Table] = []
        self.buffers: list[Table] = [{}]
        self.shapes: list[tuple[int, ...]] = []
        self.scales: list[float] = []

    def values(self, name: str, shape: tuple[int, ...], scale: Scale) -> int:
        """Add a tensor of int8 values that an operator makes; return its number."""
        return self._tensor(name, shape, INT8, [scale.scale], [scale.zero], 0, 0)

    def constant(
        self, name: str, data: np.ndarray, scales: Sequence[float] = (), axis: int = 0
    ) -> int:
        """Add a constant; return its number."""
        self.buffers.append({0: data.tobytes()})
        kind = INT8 if data.dtype == np.int8 else INT32
        zeros, buffer = [0] * len(scales), len(self.buffers) - 1
        return self._tensor(name, data.shape, kind, scales, zeros, axis, buffer)

    def _tensor(
        self, name: str, shape: tuple[int, ...], kind: int, scales: Sequence[float],
        zeros: Sequence[int], axis: int, buffer: int,
    ) -> int:  # fmt: skip
        tensor: Table = {
            0: np.array(shape, np.int32), 1: ("b", kind), 2: ("I", buffer), 3: name,
        }  # fmt: skip
        if scales:
            tensor[4] = {
                2: np.array(scales, np.float32), 3: np.array(zeros, np.int64), 6: ("i", axis),
            }  # fmt: skip
        self.tensors.append(tensor)
        self.shapes.append(shape)
        self.scales.append(scales[0] if scales else 0.0)
        return len(self.tensors) - 1

    def operator(
        self, code: int, version: int, inputs: list[int], output: int, kind: int, options: Table
    ) -> int:
        """Add an operator; ``kind`` is the number of its options. Return its output."""
        self.codes.append({0: ("b", code), 2: ("i", version), 3: ("i", code)})
        self.operators.append(
            {
                0: ("I", len(self.codes) - 1), 1: np.array(inputs, np.int32),
                2: np.array([output], np.int32), 3: ("B", kind), 4: options,
            }
        )  # fmt: skip
        return output


@dataclass(frozen=True)
class Conv:
    """A convolution of stride 1 that keeps the size, with ReLU. ``kernel``: out × h × w × in."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray
    output: Scale

    def write(self, file: File, source: int) -> int:
        """Add it; each output channel has a scale of its own."""
        scales = np.abs(self.kernel).max(axis=(1, 2, 3)) / 127
        kernel = np.round(self.kernel / scales[:, None, None, None]).astype(np.int8)
        weights = file.constant(f"{self.name}/weights", kernel, scales.tolist())
        bias = _bias(file, self.name, self.bias, file.scales[source] * scales)
        _, height, width, _ = file.shapes[source]
        out = file.values(self.name, (1, height, width, len(kernel)), self.output)
        options: Table = {0: ("b", SAME), 1: ("i", 1), 2: ("i", 1), 3: ("b", RELU)}
        return file.operator(3, 3, [source, weights, bias], out, 1, options)


@dataclass(frozen=True)
class MeanPool:
    """The mean of 2 × 2; it keeps the scale."""

    name: str
    output: Scale

    def write(self, file: File, source: int) -> int:
        """Add it."""
        _, height, width, channels = file.shapes[source]
        out = file.values(self.name, (1, height // 2, width // 2, channels), self.output)
        sizes: Table = {slot: ("i", 2) for slot in (1, 2, 3, 4)}
        return file.operator(1, 2, [source], out, 5, {0: ("b", VALID), **sizes})


@dataclass(frozen=True)
class Dense:
    """A fully connected layer on all that comes. ``weights``: out × in."""

    name: str
    weights: np.ndarray
    bias: np.ndarray
    output: Scale
    relu: bool

    def write(self, file: File, source: int) -> int:
        """Add it; a shape of more than one dimension is made flat first."""
        if len(file.shapes[source]) > 2:
            source = self._flat(file, source)
        scale = float(np.abs(self.weights).max() / 127)
        quantised = np.round(self.weights / scale).astype(np.int8)
        weights = file.constant(f"{self.name}/weights", quantised, [scale])
        bias = _bias(file, self.name, self.bias, np.array([file.scales[source] * scale]))
        out = file.values(self.name, (1, len(quantised)), self.output)
        options: Table = {0: ("b", RELU if self.relu else 0)}
        return file.operator(9, 4, [source, weights, bias], out, 8, options)

    def _flat(self, file: File, source: int) -> int:
        shape = np.array([1, np.prod(file.shapes[source])], np.int32)
        zero = int(file.tensors[source][4][3][0])
        out = file.values(
            f"{self.name}/flat", tuple(map(int, shape)), Scale(file.scales[source], zero)
        )
        wanted = file.constant(f"{self.name}/shape", shape)
        return file.operator(22, 1, [source, wanted], out, 17, {0: shape})


@dataclass(frozen=True)
class Softmax:
    """Probabilities, in steps of 1/256."""

    name: str

    def write(self, file: File, source: int) -> int:
        """Add it."""
        out = file.values(self.name, file.shapes[source], Scale(1 / 256, -128))
        return file.operator(25, 2, [source], out, 9, {0: ("f", 1.0)})


def model_file(shape: tuple[int, ...], scale: Scale, layers: Sequence[Layer]) -> bytes:
    """Return the file of a model whose one input has ``shape`` (without the batch)."""
    file = File()
    at = source = file.values("image", (1, *shape), scale)
    for layer in layers:
        at = layer.write(file, at)
    graph: Table = {
        0: file.tensors, 1: np.array([source], np.int32), 2: np.array([at], np.int32),
        3: file.operators, 4: "main",
    }  # fmt: skip
    root: Table = {
        0: ("I", 3), 1: file.codes, 2: [graph], 3: "digits, made by the demo", 4: file.buffers,
    }  # fmt: skip
    return flatbuffer(root, b"TFL3")


def _bias(file: File, name: str, bias: np.ndarray, scales: np.ndarray) -> int:
    whole = np.round(bias / scales).astype(np.int32)
    return file.constant(f"{name}/bias", whole, scales.tolist())
