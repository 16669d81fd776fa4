"""How a random graph grows by an operator that only moves or renames."""

from __future__ import annotations

from typing import Any

from tests.unit.board.growing import Grower, Value, numbers


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
