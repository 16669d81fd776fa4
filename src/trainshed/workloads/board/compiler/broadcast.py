"""Loops over two inputs of which one may be repeated along dimensions of the other."""

from __future__ import annotations

from trainshed.domain.board import Core
from trainshed.workloads.board.model.graph import Graph, Operator

MAX_RANK = 6


def loops(a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...], statement: str) -> str:
    """Return C loops around a statement that uses the indexes ``i``, ``j`` and ``k`` of the
    elements of a, b and the output. Dimensions that both walk alike are one loop."""
    axes = _merged(_strides(a, out), _strides(b, out), out)
    lines: list[str] = ["    int k = 0;"]
    starts = ("0", "0")
    indent = "    "
    for depth, (n, step_a, step_b) in enumerate(axes):
        lines.append(
            f"{indent}for (int n{depth} = 0, i{depth} = {starts[0]}, j{depth} = {starts[1]}; "
            f"n{depth} < {n}; n{depth}++, i{depth} += {step_a}, j{depth} += {step_b}) {{"
        )
        starts = (f"i{depth}", f"j{depth}")
        indent += "    "
    lines.append(f"{indent}const int i = {starts[0]}, j = {starts[1]};")
    lines.append(f"{indent}{statement}")
    lines.append(f"{indent}k++;")
    for depth in range(len(axes), 0, -1):
        lines.append(f"{'    ' * depth}}}")
    return "\n".join(lines)


def shape_of(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that two shapes broadcast to, or None where they do not."""
    rank = max(len(a), len(b))
    wide_a, wide_b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(x != y and 1 not in (x, y) for x, y in zip(wide_a, wide_b, strict=True)):
        return None
    return tuple(y if x == 1 else x for x, y in zip(wide_a, wide_b, strict=True))


def refuse_shapes(graph: Graph, operator: Operator) -> str | None:
    """Return why the shapes of an operator with two inputs cannot be compiled."""
    a, b = (graph.tensors[i].shape for i in operator.inputs[:2])
    target = graph.tensors[operator.outputs[0]].shape
    if shape_of(a, b) != target:
        return f"{operator.kind} of {a} and {b} does not make {target}."
    if max(len(a), len(b)) > MAX_RANK:
        return f"{operator.kind} of more than {MAX_RANK} dimensions is not supported."
    return None


def overwrites_same_shape(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """Element by element: the inputs that have as many elements as the output."""
    n = graph.tensors[operator.outputs[0]].n_bytes
    return tuple(i for i in operator.inputs if i >= 0 and graph.tensors[i].n_bytes == n)


def _strides(shape: tuple[int, ...], out: tuple[int, ...]) -> list[int]:
    """Elements that a step along each dimension of the output moves; 0 where it repeats."""
    wide = (1,) * (len(out) - len(shape)) + shape
    strides, step = [0] * len(out), 1
    for axis in range(len(out) - 1, -1, -1):
        strides[axis] = 0 if wide[axis] == 1 else step
        step *= wide[axis]
    return strides


def _merged(
    a: list[int], b: list[int], out: tuple[int, ...]
) -> list[tuple[int, int, int]]:  # fmt: skip
    """(count, step of a, step of b), outermost first."""
    axes: list[tuple[int, int, int]] = []
    for n, step_a, step_b in zip(out, a, b, strict=True):
        if n == 1:
            continue
        if axes:
            m, last_a, last_b = axes[-1]
            if last_a == step_a * n and last_b == step_b * n:
                axes[-1] = (m * n, step_a, step_b)
                continue
        axes.append((n, step_a, step_b))
    return axes
