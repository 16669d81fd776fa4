"""Loops over arrays of several dimensions, flattened as far as they go before any C is written.

An `Axis` is one loop in which several arrays move on, each by its own step; a step of 0 repeats an
element (broadcasting), a negative one walks backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """``n`` rounds; ``steps``: by how many elements each array moves on."""

    n: int
    steps: tuple[int, ...]


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return by how many elements each dimension of a dense array moves on."""
    steps = [1] * len(shape)
    for i in reversed(range(len(shape) - 1)):
        steps[i] = steps[i + 1] * shape[i + 1]
    return tuple(steps)


def broadcast(target: Sequence[int], *shapes: Sequence[int]) -> list[Axis]:
    """Return the loops over a target and the arrays stretched to it; the target's steps first."""
    columns = [strides(target)]
    for shape in shapes:
        full = (1,) * (len(target) - len(shape)) + tuple(shape)
        columns.append(tuple(0 if n == 1 else s for n, s in zip(full, strides(full), strict=True)))
    return [Axis(n, tuple(steps)) for n, *steps in zip(target, *columns, strict=True)]


def stretches(target: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an array of this shape can be broadcast to the target."""
    full = (1,) * (len(target) - len(shape)) + tuple(shape)
    return len(full) == len(target) and all(a in (1, b) for a, b in zip(full, target, strict=True))


def collapse(axes: Sequence[Axis]) -> list[Axis]:
    """Return fewer loops that do the same: no loops of one round, even neighbours joined."""
    made: list[Axis] = []
    for axis in axes:
        if axis.n == 1:
            continue
        if made and all(
            outer == inner * axis.n for outer, inner in zip(made[-1].steps, axis.steps, strict=True)
        ):
            made[-1] = Axis(made[-1].n * axis.n, axis.steps)
        else:
            made.append(axis)
    return made


def nest(axes: Sequence[Axis], n_arrays: int, inner: Callable[[list[str]], str]) -> str:
    """Return C: the loops around what ``inner`` makes of each array's offset, ``" + i0 * 12"``."""
    lines = []
    offsets = [""] * n_arrays
    for depth, axis in enumerate(axes):
        name = f"i{depth}"
        lines.append(f"{_indent(depth)}for (int {name} = 0; {name} < {axis.n}; {name}++)")
        for k, step in enumerate(axis.steps):
            offsets[k] += f" + {name} * {step}" if step else ""
    lines.append(f"{_indent(len(axes))}{inner(offsets)}")
    return "\n".join(lines)


def _indent(depth: int) -> str:
    return "    " * (depth + 1)
