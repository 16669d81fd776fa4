"""MEAN over any dimensions, int8 and float32."""

from __future__ import annotations

import math

from trainshed.workloads.board.compiler.arithmetic import (
    Multiplier,
    multiplier,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.demands import (
    first,
    inputs_of,
    numbers,
    output_of,
    refuse_types,
    refuse_unscaled,
    refuse_variable,
)
from trainshed.workloads.board.compiler.entry import FLOAT, INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.loops import Axis, collapse, nest, strides
from trainshed.workloads.board.model.graph import DType, Graph, Operator

_MAX_LOOPS = 3


def _axes(graph: Graph, operator: Operator) -> set[int]:
    source, axes = inputs_of(graph, operator)
    return {i % len(source.shape) for i in numbers(axes) or []}


def _summed(graph: Graph, operator: Operator) -> tuple[list[Axis], list[Axis]]:
    """The loops over the output, and those of one sum: steps of the output, then of the input."""
    source = inputs_of(graph, operator)[0]
    summed = _axes(graph, operator)
    kept = [n for i, n in enumerate(source.shape) if i not in summed]
    to = iter(strides(kept))
    over, within = [], []
    for i, (n, step) in enumerate(zip(source.shape, strides(source.shape), strict=True)):
        if i in summed:
            within.append(Axis(n, (step,)))
        else:
            over.append(Axis(n, (next(to), step)))
    return collapse(over), collapse(within)


def _divided(by: Multiplier, n: int) -> Multiplier:
    """The multiplier with the division by n in it, as far as its bits allow."""
    shift = min(n.bit_length() - 1, 32, 31 + by.shift)
    return Multiplier((by.value << shift) // n, by.shift - shift)


def _emit(site: Site) -> Code:
    source, target = site.input(), site.output()
    over, within = _summed(site.graph, site.operator)
    n = source.n_elements // target.n_elements
    loops = [Axis(1, (0,))] * (_MAX_LOOPS - len(within)) + within
    shape = ", ".join(f"{axis.n}, {axis.steps[0]}" for axis in loops)
    if target.dtype is DType.INT8:
        by = _divided(multiplier(scale(source) / scale(target)), n)
        rest = f"{zero_point(source) * n}, {by.value}, {by.shift}, {zero_point(target)}"
        function = "mean_int8"
    else:
        function, rest = "mean_f32", f"{n}.0f"
    body = nest(
        over, 2,
        lambda at: (
            f"({site.at(target)})[0{at[0]}] = "
            f"{function}({site.at(source)}{at[1]}, (struct summed){{{shape}}}, {rest});"
        ),
    )  # fmt: skip
    return Code(body, ("mean.h",), source.n_elements)


def _refuse(graph: Graph, operator: Operator) -> str | None:
    source, axes = inputs_of(graph, operator)
    target = output_of(graph, operator)
    reason = first(
        refuse_variable(operator, axes, "the dimensions"),
        refuse_types(operator, source.dtype, target),
        refuse_unscaled(operator, source, target),
    )
    if reason is not None:
        return reason
    rank = len(source.shape)
    if any(not -rank <= i < rank for i in numbers(axes) or []):
        return f"MEAN over {numbers(axes)} of a tensor of {rank} dimensions."
    summed = _axes(graph, operator)
    keep = operator.options["keep_dims"]
    made = tuple(
        1 if i in summed else n for i, n in enumerate(source.shape) if keep or i not in summed
    )
    if target.n_elements != math.prod(made):
        return f"MEAN: the output should have the shape {made}, not {target.shape}."
    if len(_summed(graph, operator)[1]) > _MAX_LOOPS:
        return f"MEAN over more than {_MAX_LOOPS} dimensions that lie apart is not supported."
    return None


ENTRIES = (Entry("MEAN", 3, (INT8, FLOAT), _emit, _refuse),)
