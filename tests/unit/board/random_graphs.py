"""Random small models of supported operators, all of which TensorFlow Lite Micro accepts.

    @given(graphs())
    def test(case: Drawn): ...

A graph grows operator by operator on tensors that are already there; what nothing reads is an
output. The operators are in ``random_operators.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from tests.unit.board.growing import Drawn, Grower
from tests.unit.board.random_operators import OPERATORS

MAX_OPERATORS = 6
#: Operators with the most ways to be wrong: drawn three times as often.
HEAVY = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "RESIZE_NEAREST_NEIGHBOR", "MEAN")


def shape(grow: Grower) -> tuple[int, ...]:
    """Draw a shape: mostly an image, else of one to five dimensions."""
    if grow.number(0, 3) < 3:
        return (1, grow.number(1, 7), grow.number(1, 7), grow.number(1, 6))
    return tuple(grow.number(1, 4) for _ in range(grow.number(1, 5)))


@st.composite
def graphs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Drawn:
    """Draw a model of one to six operators."""
    grow = Grower(draw)
    grow.input(shape(grow), grow.choose(("int8", "float32")))
    for _ in range(grow.number(1, MAX_OPERATORS)):
        value = grow.choose(list(reversed(grow.values)))
        usable = [op for op in OPERATORS if value.shape and op.takes(value)]
        usable += [op for op in usable if op.name in HEAVY] * 2
        if usable:
            grow.choose(usable).grow(grow, value)
    if not grow.lines:
        start = grow.values[0]
        flat = grow.value((start.n,), start.dtype, start)
        grow.operator("RESHAPE", [start, grow.integers([-1])], [flat])
    return grow.finish()
