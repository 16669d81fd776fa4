"""Operators that only move elements: TRANSPOSE, STRIDED_SLICE, SPLIT, CONCATENATION, PAD,
RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from trainshed.workloads.board.compiler.arithmetic import (
    activation_of,
    is_quantized,
    round_half_away,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.demands import (
    first,
    inputs_of,
    numbers,
    output_of,
    refuse_shape,
    refuse_types,
    refuse_unscaled,
    refuse_variable,
)
from trainshed.workloads.board.compiler.entry import C_TYPES, FLOAT, INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.loops import Axis, collapse, nest, strides
from trainshed.workloads.board.model.graph import SIZES, DType, Graph, Operator, Tensor

Emit = Callable[[Site], Code]
Refuse = Callable[[Graph, Operator], str | None]

_MAX_CONCATENATED = 10
_TRANSPOSE_RANK, _SLICE_RANK, _PAD_RANK = 5, 4, 5


def _move(to: str, source: str, dtype: DType, axes: Sequence[Axis]) -> str:
    """The loops that copy; steps of ``to`` first. A run that is dense in both is one memcpy."""
    *outer, last = collapse(axes) or [Axis(1, (1, 1))]
    if last.steps == (1, 1):
        n_bytes = last.n * SIZES[dtype]
        return nest(outer, 2, lambda at: f"memcpy({to}{at[0]}, {source}{at[1]}, {n_bytes});")
    ctype = C_TYPES[dtype]
    return nest(
        [*outer, last], 2,
        lambda at: f"*({ctype} *)({to}{at[0]}) = *(const {ctype} *)({source}{at[1]});",
    )  # fmt: skip


def _axes(shape: Sequence[int], to: Sequence[int], source: Sequence[int]) -> list[Axis]:
    return [Axis(n, (a, b)) for n, a, b in zip(shape, to, source, strict=True)]


def _input_numbers(site: Site, position: int) -> list[int]:
    found = numbers(site.input(position))
    assert found is not None
    return found


def _transpose(site: Site) -> Code:
    source, target = site.input(), site.output()
    steps = strides(source.shape)
    taken = [steps[i % len(steps)] for i in _input_numbers(site, 1)]
    axes = _axes(target.shape, strides(target.shape), taken)
    return Code(_move(site.at(target), site.at(source), target.dtype, axes))


def _refuse_transpose(graph: Graph, operator: Operator) -> str | None:
    source, order = inputs_of(graph, operator)
    target = output_of(graph, operator)
    reason = first(
        refuse_variable(operator, order, "the order of the dimensions"),
        refuse_types(operator, source.dtype, target),
    )
    if reason is not None:
        return reason
    rank = len(source.shape)
    if rank > _TRANSPOSE_RANK:
        return f"TRANSPOSE of more than {_TRANSPOSE_RANK} dimensions is not supported."
    axes = [i % max(rank, 1) for i in numbers(order) or []]
    if sorted(axes) != list(range(rank)):
        return f"TRANSPOSE: {axes} is no order of {rank} dimensions."
    return refuse_shape(operator, target, tuple(source.shape[i] for i in axes))


def _slices(graph: Graph, operator: Operator) -> list[range]:
    """The indexes taken along each dimension, as the masks say."""
    source, *parts = inputs_of(graph, operator)
    options = operator.options
    made = []
    begins, ends, steps = (numbers(part) or [] for part in parts)
    for i, (n, begin, end, step) in enumerate(zip(source.shape, begins, ends, steps, strict=True)):
        bit = 1 << i
        start = None if options["begin_mask"] & bit else begin
        stop = None if options["end_mask"] & bit else end
        if options["shrink_axis_mask"] & bit:
            start, stop, step = begin, begin + 1 if begin != -1 else None, 1
        made.append(range(n)[slice(start, stop, step)])
    return made


def _strided_slice(site: Site) -> Code:
    source, target = site.input(), site.output()
    taken = _slices(site.graph, site.operator)
    steps = strides(source.shape)
    shape = [len(r) for r in taken]
    begin = sum(r.start * s for r, s in zip(taken, steps, strict=True))
    walked = [r.step * s for r, s in zip(taken, steps, strict=True)]
    at = f"{site.at(source)} + {begin}"
    return Code(_move(site.at(target), at, target.dtype, _axes(shape, strides(shape), walked)))


def _refuse_slice(graph: Graph, operator: Operator) -> str | None:
    source, *parts = inputs_of(graph, operator)
    target = output_of(graph, operator)
    reason = first(
        *(refuse_variable(operator, part, "begin, end and strides") for part in parts),
        refuse_types(operator, source.dtype, target),
    )
    if reason is not None:
        return reason
    options = operator.options
    if len(source.shape) > _SLICE_RANK:
        return f"STRIDED_SLICE of more than {_SLICE_RANK} dimensions is not supported."
    if options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]:
        return "STRIDED_SLICE with an ellipsis, a new axis or offsets is not supported."
    given = [numbers(part) or [] for part in parts]
    if any(len(values) != len(source.shape) for values in given) or 0 in given[-1]:
        return "STRIDED_SLICE needs a begin, an end and a stride for each dimension."
    shape = tuple(
        len(r)
        for i, r in enumerate(_slices(graph, operator))
        if not options["shrink_axis_mask"] & (1 << i)
    )
    return refuse_shape(operator, target, shape)


def _split(site: Site) -> Code:
    """The axis comes first, then the input."""
    source = site.input(1)
    axis = _input_numbers(site, 0)[0] % len(source.shape)
    n = source.shape[axis] // len(site.operator.outputs)
    outer, inner = _around(source.shape, axis)
    text = []
    for i in range(len(site.operator.outputs)):
        target = site.output(i)
        at = f"{site.at(source)} + {i * n * inner}"
        axes = [
            Axis(outer, (n * inner, source.shape[axis] * inner)), Axis(n * inner, (1, 1))
        ]  # fmt: skip
        text.append(_move(site.at(target), at, source.dtype, axes))
    return Code("\n".join(text))


def _refuse_split(graph: Graph, operator: Operator) -> str | None:
    along, source = inputs_of(graph, operator)
    targets = [graph.tensors[i] for i in operator.outputs]
    reason = first(
        refuse_variable(operator, along, "the axis"), refuse_types(operator, source.dtype, *targets)
    )
    if reason is not None:
        return reason
    axis = (numbers(along) or [0])[0] % max(len(source.shape), 1)
    shape = list(source.shape)
    if not shape or shape[axis] % len(targets):
        return f"SPLIT of {source.shape} into {len(targets)} along {axis} does not come out even."
    shape[axis] //= len(targets)
    return first(*(refuse_shape(operator, target, tuple(shape)) for target in targets))


def _concatenate(site: Site) -> Code:
    target = site.output()
    axis = site.operator.options["axis"] % len(target.shape)
    outer, inner = _around(target.shape, axis)
    text, done = [], 0
    for i in range(len(site.operator.inputs)):
        source = site.input(i)
        run = source.shape[axis] * inner
        axes = [Axis(outer, (target.shape[axis] * inner, run)), Axis(run, (1, 1))]
        to = f"{site.at(target)} + {done * inner}"
        text.append(_move(to, site.at(source), target.dtype, axes))
        done += source.shape[axis]
    return Code("\n".join(text), (), 0, site.weight_bytes)


def _refuse_concatenate(graph: Graph, operator: Operator) -> str | None:
    sources, target = inputs_of(graph, operator), output_of(graph, operator)
    reason = refuse_types(operator, target.dtype, *sources)
    if reason is not None:
        return reason
    if activation_of(operator) != "NONE":
        return "CONCATENATION with a fused activation is not supported. Make it an operator."
    if len(sources) > _MAX_CONCATENATED:
        return f"CONCATENATION of more than {_MAX_CONCATENATED} tensors. Make it in steps."
    for source in sources:
        if target.dtype is DType.INT8 and not _same_scale(source, target):
            return (
                f"CONCATENATION: tensor {source.index} ({source.name}) has another scale or zero "
                "point than the output. Requantise it first."
            )
    rank = len(target.shape)
    axis = operator.options["axis"] % max(rank, 1)
    if any(len(s.shape) != rank for s in sources):
        return "CONCATENATION of tensors of different dimensions."
    made = list(sources[0].shape)
    made[axis] = sum(s.shape[axis] for s in sources)
    others = {s.shape[:axis] + s.shape[axis + 1 :] for s in sources}
    if len(others) != 1:
        return "CONCATENATION of tensors that differ beside the axis."
    return refuse_shape(operator, target, tuple(made))


def _around(shape: Sequence[int], axis: int) -> tuple[int, int]:
    """The elements outside and inside of a dimension."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def _same_scale(a: Tensor, b: Tensor) -> bool:
    if not is_quantized(a, b):
        return False
    return scale(a) == scale(b) and zero_point(a) == zero_point(b)


def _pad(site: Site) -> Code:
    """The whole output is filled, then the input is put into its place."""
    source, target = site.input(), site.output()
    around = _input_numbers(site, 1)
    steps = strides(target.shape)
    begin = sum(n * s for n, s in zip(around[::2], steps, strict=True))
    filled = zero_point(target) if target.dtype is DType.INT8 else 0
    axes = _axes(source.shape, steps, strides(source.shape))
    moved = _move(f"{site.at(target)} + {begin}", site.at(source), target.dtype, axes)
    return Code(f"    memset({site.at(target)}, {filled}, {target.n_bytes});\n{moved}")


def _refuse_pad(graph: Graph, operator: Operator) -> str | None:
    source, around = inputs_of(graph, operator)[:2]
    target = output_of(graph, operator)
    reason = first(
        refuse_variable(operator, around, "the paddings"),
        refuse_types(operator, source.dtype, target),
        refuse_unscaled(operator, target),
    )
    if reason is not None:
        return reason
    widths = numbers(around) or []
    if len(source.shape) > _PAD_RANK or len(widths) != 2 * len(source.shape) or min(widths) < 0:
        return f"PAD of {source.shape} by {widths} is not supported."
    made = tuple(
        n + widths[2 * i] + widths[2 * i + 1] for i, n in enumerate(source.shape)
    )  # fmt: skip
    return refuse_shape(operator, target, made)


def nearest(n_in: int, n_out: int, corners: bool, half: bool) -> list[int]:
    """Return the index in the input that each index of the output is nearest to."""
    one = np.float32(1.0)
    ratio = np.float32(n_in) / np.float32(n_out)
    if corners and n_out > 1:
        ratio = np.float32(n_in - 1) / (one * np.float32(n_out - 1))
    found = []
    for i in range(n_out):
        at = float((np.float32(i) + np.float32(0.5 if half else 0.0)) * ratio)
        found.append(max(0, min(round_half_away(at) if corners else math.floor(at), n_in - 1)))
    return found


def _resize(site: Site) -> Code:
    source, target = site.input(), site.output()
    images, height, width, channels = target.shape
    options = site.operator.options
    ctype = "int16_t" if max(source.shape[1:3]) < 2**15 else "int32_t"
    rows, columns = (
        site.constant(
            role, ctype,
            nearest(n_in, n_out, options["align_corners"], options["half_pixel_centers"]),
        )
        for role, n_in, n_out in (
            ("rows", source.shape[1], height), ("columns", source.shape[2], width),
        )
    )  # fmt: skip
    run = channels * SIZES[target.dtype]
    to, at = site.at(target, "int8_t"), site.at(source, "int8_t")
    body = nest(
        [Axis(images, (height * width * run, source.n_bytes // images)),
         Axis(height, (width * run, 0)), Axis(width, (run, 0))], 2,
        lambda offsets: (
            f"memcpy({to}{offsets[0]}, {at}{offsets[1]} + "
            f"({rows}[i1] * {source.shape[2]} + {columns}[i2]) * {run}, {run});"
        ),
    )  # fmt: skip
    return Code(body, (), 0, 2 * images * height * (width + 1))


def _refuse_resize(graph: Graph, operator: Operator) -> str | None:
    source, size = inputs_of(graph, operator)
    target = output_of(graph, operator)
    reason = first(
        refuse_variable(operator, size, "the size"), refuse_types(operator, source.dtype, target)
    )
    if reason is not None:
        return reason
    wanted = numbers(size) or []
    if len(source.shape) != 4 or len(wanted) != 2:
        return f"RESIZE_NEAREST_NEIGHBOR of {source.shape} is not supported, only of images."
    return refuse_shape(operator, target, (source.shape[0], *wanted, source.shape[3]))


def _entries(
    kind: str, version: int, emit: Emit, refuse: Refuse, axis_first: bool = False
) -> tuple[Entry, ...]:
    given = ((DType.INT32, DType.INT8), (DType.INT32, DType.FLOAT32))
    return (Entry(kind, version, given if axis_first else (INT8, FLOAT), emit, refuse),)


ENTRIES = (
    *_entries("TRANSPOSE", 6, _transpose, _refuse_transpose),
    *_entries("STRIDED_SLICE", 8, _strided_slice, _refuse_slice),
    *_entries("SPLIT", 4, _split, _refuse_split, axis_first=True),
    *_entries("CONCATENATION", 4, _concatenate, _refuse_concatenate),
    *_entries("PAD", 4, _pad, _refuse_pad),
    *_entries("RESIZE_NEAREST_NEIGHBOR", 4, _resize, _refuse_resize),
)
