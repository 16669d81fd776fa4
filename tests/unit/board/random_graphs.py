"""Random small models of supported operators, all of which TensorFlow Lite Micro accepts.

    @given(graphs())
    def test(case: Drawn): ...

A graph grows operator by operator on tensors that are already there; what nothing reads is an
output. The operators are in ``random_operators.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.unit.board.make_model import Maker

MAX_OPERATORS = 6
MAX_ELEMENTS = 400
#: Operators with the most ways to be wrong: drawn three times as often.
HEAVY = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "RESIZE_NEAREST_NEIGHBOR", "MEAN")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True)
class Value:
    """A tensor of the graph being grown. ``exact``: float32 that has the reference's very bits."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero: int = 0
    exact: bool = True

    @property
    def n(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """One image of rows, columns and channels."""
        return len(self.shape) == 4 and self.shape[0] == 1


@dataclass(frozen=True)
class Drawn:
    """A model with one set of inputs. ``exact``: for each output, whether each bit must agree."""

    model: bytes
    inputs: tuple[bytes, ...]
    exact: tuple[bool, ...]
    text: str = field(compare=False)

    def __repr__(self) -> str:
        return self.text


class Grower:
    """A graph in the making; operators call its methods."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.maker = Maker()
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.read: set[int] = set()
        self.lines: list[str] = []

    def number(self, low: int, high: int) -> int:
        """Draw an integer."""
        return int(self.draw(st.integers(low, high)))

    def choose(self, values: Sequence[Any]) -> Any:
        """Draw one of several; shrinks towards the first."""
        return self.draw(st.sampled_from(values))

    def flag(self) -> bool:
        """Draw yes or no."""
        return bool(self.draw(st.booleans()))

    def scale(self, low: int = -9, high: int = 1) -> float:
        """Draw a scale between two powers of two; now and then a power itself."""
        exponent = self.number(low, high)
        return float(np.float32(2.0**exponent * (1 + self.choose((0, 0.5, 0.123, 0.77)))))

    def zero(self) -> int:
        """Draw a zero point, now and then one of the ends."""
        if self.number(0, 3) == 3:
            return int(self.choose((0, -128, 127)))
        return self.number(-100, 100)

    def near(self, scale: float) -> float:
        """Draw a scale in whose range most results fall; now and then any."""
        if not scale or self.number(0, 7) == 7:
            return self.scale()
        return float(np.float32(scale * self.choose((1, 0.7, 1.5, 0.37, 2.9))))

    def value(
        self, shape: Sequence[int], dtype: str, like: Value | None = None, *,
        scale: float | None = None, zero: int | None = None, exact: bool = True,
    ) -> Value:  # fmt: skip
        """Add a tensor; ``like``: with its scale and zero point, else drawn."""
        if dtype in ("float32", "int32"):
            index = self.maker.tensor(shape, dtype)
            return self._keep(Value(index, tuple(shape), dtype, exact=exact))
        if like is not None:
            scale, zero = like.scale, like.zero
        scale = self.scale() if scale is None else scale
        zero = self.zero() if zero is None else zero
        index = self.maker.tensor(shape, dtype, scale, zero)
        return self._keep(Value(index, tuple(shape), dtype, scale, zero))

    def input(self, shape: Sequence[int], dtype: str) -> Value:
        """Add an input of the model."""
        made = self.value(shape, dtype)
        self.inputs.append(made)
        return made

    def constant(self, array: Any, scale: Any = (), zero: int = 0, axis: int = 0) -> int:
        """Add a constant; return its index."""
        return self.maker.constant(array, scale, zero, axis)

    def integers(self, values: Any) -> int:
        """Add a constant of int32."""
        return self.constant(np.array(values, np.int32))

    def operator(
        self, kind: str, inputs: Sequence[Value | int], outputs: Sequence[Value], **options: Any
    ) -> None:
        """Add an operator over values and constants."""
        given = [v.index if isinstance(v, Value) else v for v in inputs]
        self.maker.operator(kind, given, [v.index for v in outputs], **options)
        self.read.update(given)
        shown = ", ".join(_shown(v) for v in inputs)
        made = ", ".join(_shown(v) for v in outputs)
        chosen = "".join(f" {k}={v}" for k, v in options.items())
        self.lines.append(f"  {kind}({shown}) -> {made}{chosen}")

    def finish(self) -> Drawn:
        """Pack the model, with random inputs."""
        outputs = [v for v in self.values if v.index not in self.read and v not in self.inputs]
        model = self.maker.pack([v.index for v in self.inputs], [v.index for v in outputs])
        data = tuple(self._data(v) for v in self.inputs)
        head = "graph of " + ", ".join(_shown(v) for v in self.inputs)
        text = "\n".join([head, *self.lines, f"  outputs {[v.index for v in outputs]}"])
        return Drawn(model, data, tuple(v.exact for v in outputs), text)

    def _keep(self, made: Value) -> Value:
        self.values.append(made)
        return made

    def _data(self, value: Value) -> bytes:
        if value.dtype == "float32":
            return (self.rng.normal(size=value.n) * 3).astype(np.float32).tobytes()
        return self.rng.integers(0, 256, value.n).astype(np.uint8).tobytes()


def _shown(value: Value | int) -> str:
    if not isinstance(value, Value):
        return f"c{value}"
    quant = f" {value.scale:.6g} {value.zero}" if value.dtype in ("int8", "uint8") else ""
    return f"t{value.index}:{value.dtype}{list(value.shape)}{quant}"


def shape(grow: Grower) -> tuple[int, ...]:
    """Draw a shape: mostly an image, else of one to five dimensions."""
    if grow.number(0, 3) < 3:
        return (1, grow.number(1, 7), grow.number(1, 7), grow.number(1, 6))
    return tuple(grow.number(1, 4) for _ in range(grow.number(1, 5)))


@st.composite
def graphs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Drawn:
    """Draw a model of one to six operators."""
    from tests.unit.board.random_operators import OPERATORS

    grow = Grower(draw)
    grow.input(shape(grow), grow.choose(("int8", "float32")))
    for _ in range(grow.number(1, MAX_OPERATORS)):
        value = grow.choose(list(reversed(grow.values)))
        usable = [op for op in OPERATORS if value.shape and op.takes(value)]
        usable += [op for op in usable if op.name in HEAVY] * 2
        if usable:
            grow.choose(usable).grow(grow, value)
    if not grow.lines:
        grow.operator("RESHAPE", [grow.values[0], grow.integers([-1])],
                      [grow.value((grow.values[0].n,), grow.values[0].dtype, grow.values[0])])  # fmt: skip
    return grow.finish()
