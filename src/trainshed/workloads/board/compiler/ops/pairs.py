"""ADD, SUB, MUL and PRELU: two operands, the smaller stretched to the larger."""

from __future__ import annotations

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.arithmetic import (
    activation_of,
    float_range,
    int8_range,
    multiplier,
    refuse_activation,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.demands import (
    first,
    inputs_of,
    output_of,
    refuse_types,
    refuse_unscaled,
)
from trainshed.workloads.board.compiler.entry import FLOAT, INT8, Code, Entry, Site
from trainshed.workloads.board.compiler.loops import Axis, broadcast, collapse, nest, stretches
from trainshed.workloads.board.model.graph import Graph, Operator

HEADROOM = 20
_PRELU_RANK = 4


def _rows(site: Site, function: str, *rest: str) -> str:
    """The loops over both operands, the innermost one a call: fn(x, y, out, n, steps, rest)."""
    x, y, out = site.input(0), site.input(1), site.output()
    axes = collapse(broadcast(out.shape, x.shape, y.shape)) or [Axis(1, (1, 1, 1))]
    *outer, row = axes
    numbers = ", ".join((*map(str, (row.n, *row.steps[1:])), *rest))
    return nest(
        outer, 3,
        lambda at: (
            f"{function}({site.at(x)}{at[1]}, {site.at(y)}{at[2]}, {site.at(out)}{at[0]}, "
            f"{numbers});"
        ),
    )  # fmt: skip


def rescale(zero: int, real: float) -> str:
    """Return the C literal of a zero point and a scaling."""
    by = multiplier(real)
    return f"(struct rescale){{{zero}, {by.value}, {by.shift}}}"


def _float(function: str) -> Entry:
    """ADD, SUB or MUL of float32."""
    kind, version = {"add_f32": ("ADD", 5), "sub_f32": ("SUB", 5), "mul_f32": ("MUL", 7)}[function]

    def emit(site: Site) -> Code:
        low, high = float_range(activation_of(site.operator))
        return Code(_rows(site, function, low, high), ("float32.h",))

    return Entry(kind, version, (FLOAT,), emit, _refuse_pair, overwrites=_overwrites)


def _common_scale(graph: Graph, operator: Operator) -> tuple[float, float]:
    """Twice the larger scale, and how that becomes the output's."""
    x, y = inputs_of(graph, operator)
    common = 2.0 * max(scale(x), scale(y))
    return common, common / ((1 << HEADROOM) * scale(output_of(graph, operator)))


def _sum_int8(site: Site) -> Code:
    x, y, out = site.input(0), site.input(1), site.output()
    common, to_out = _common_scale(site.graph, site.operator)
    low, high = int8_range(activation_of(site.operator), out)
    rest = (
        "1" if site.operator.kind == "ADD" else "-1",
        rescale(zero_point(x), scale(x) / common),
        rescale(zero_point(y), scale(y) / common),
        rescale(zero_point(out), to_out), str(low), str(high),
    )  # fmt: skip
    return Code(_rows(site, "sum_int8", *rest), ("pairs_int8.h",))


def _mul_int8(site: Site) -> Code:
    x, y, out = site.input(0), site.input(1), site.output()
    low, high = int8_range(activation_of(site.operator), out)
    to_out = rescale(zero_point(out), scale(x) * scale(y) / scale(out))
    rest = f"{zero_point(x)}, {zero_point(y)}, {to_out}, {low}, {high}"
    return Code(_rows(site, "mul_int8", rest), ("pairs_int8.h",))


def _prelu_int8(site: Site) -> Code:
    x, slope, out = site.input(0), site.input(1), site.output()
    rest = ", ".join(
        (
            str(zero_point(x)), str(zero_point(slope)),
            rescale(zero_point(out), scale(x) / scale(out)),
            rescale(zero_point(out), scale(x) * scale(slope) / scale(out)),
        )
    )  # fmt: skip
    return Code(_rows(site, "prelu_int8", rest), ("pairs_int8.h",))


def _prelu_float(site: Site) -> Code:
    return Code(_rows(site, "prelu_f32"), ("float32.h",))


def _refuse_pair(graph: Graph, operator: Operator) -> str | None:
    return refuse_activation(operator) or _refuse_operands(graph, operator)


def _refuse_operands(graph: Graph, operator: Operator) -> str | None:
    x, y = inputs_of(graph, operator)
    out = output_of(graph, operator)
    reason = first(refuse_types(operator, x.dtype, y, out), refuse_unscaled(operator, x, y, out))
    if reason is None and not (stretches(out.shape, x.shape) and stretches(out.shape, y.shape)):
        return f"{operator.kind} of {x.shape} and {y.shape} does not give {out.shape}."
    return reason


def _refuse_sum(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse_pair(graph, operator)
    if reason is None and _common_scale(graph, operator)[1] >= 1.0:
        return f"{operator.kind}: the scale of the output is too small for the reference."
    return reason


def _refuse_prelu(graph: Graph, operator: Operator) -> str | None:
    if len(output_of(graph, operator).shape) > _PRELU_RANK:
        return f"PRELU of more than {_PRELU_RANK} dimensions is not supported."
    return _refuse_operands(graph, operator)


def _overwrites(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """An operand as large as the result is read just before it is written."""
    size = output_of(graph, operator).n_elements
    return tuple(i for i in operator.inputs if graph.tensors[i].n_elements == size)


ENTRIES = (
    _float("add_f32"),
    _float("sub_f32"),
    _float("mul_f32"),
    Entry("ADD", 5, (INT8,), _sum_int8, _refuse_sum, overwrites=_overwrites),
    Entry("SUB", 5, (INT8,), _sum_int8, _refuse_sum, overwrites=_overwrites),
    Entry("MUL", 7, (INT8,), _mul_int8, _refuse_pair, overwrites=_overwrites),
    Entry("PRELU", 2, (INT8,), _prelu_int8, _refuse_prelu, overwrites=_overwrites),
    Entry("PRELU", 2, (FLOAT,), _prelu_float, _refuse_prelu, overwrites=_overwrites),
)
