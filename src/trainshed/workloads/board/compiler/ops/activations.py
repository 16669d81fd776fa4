"""Operators of one input, element by element: RELU and its kin, LOGISTIC, TANH, QUANTIZE.

Those of int8 are a table of all 256 results.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler import fixed_point as fixed
from trainshed.workloads.board.compiler.arithmetic import (
    Multiplier,
    f32,
    float_range,
    multiplier,
    round_half_away,
    scale,
    zero_point,
)
from trainshed.workloads.board.compiler.demands import (
    first,
    inputs_of,
    output_of,
    refuse_shape,
    refuse_unscaled,
)
from trainshed.workloads.board.compiler.entry import FLOAT, INT8, Code, Entry, Site, float_literal
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor

#: LOGISTIC and TANH compute with inputs below 2^4.
_INTEGER_BITS = 4
_FRACTION = 31 - _INTEGER_BITS
_RANGES = {DType.INT8: (-128, 127), DType.UINT8: (0, 255)}

Table = Callable[[Operator, Tensor, Tensor], list[int]]


def _clamped(value: int, target: Tensor, low: int | None = None) -> int:
    smallest, largest = _RANGES[target.dtype]
    return max(smallest if low is None else max(smallest, low), min(largest, value))


def _stored(source: Tensor) -> range:
    smallest, largest = _RANGES[source.dtype]
    return range(smallest, largest + 1)


def _relu(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
    by = multiplier(scale(source) / scale(target))
    zero = zero_point(target)
    scaled = (fixed.requantize(v - zero_point(source), by) for v in _stored(source))
    return [_clamped(zero + v, target, low=zero) for v in scaled]


def _relu6(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
    """Not rescaled: the reference takes both scales for the same."""
    zero = zero_point(source)
    six = _clamped(
        zero + round_half_away(float(np.float32(6.0) / np.float32(scale(source)))), source
    )
    return [max(zero, min(six, v)) for v in _stored(source)]


def _leaky_relu(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
    ratio = scale(source) * f32(operator.options["alpha"]) / scale(target)
    positive, negative = multiplier(scale(source) / scale(target)), multiplier(ratio)
    made = []
    for stored in _stored(source):
        value = stored - zero_point(source)
        by = positive if value >= 0 else negative
        made.append(_clamped(zero_point(target) + fixed.requantize(value, by), target))
    return made


def _hard_swish_multipliers(source: Tensor, target: Tensor) -> tuple[Multiplier, Multiplier]:
    """To the output's scale, and to the range in which x + 3 is clamped to 0..6: 16 bits each."""
    fine = np.float32(1.0 / 128.0) * np.float32(scale(source))
    ratios = (
        fine / np.float32(scale(target)), fine / (np.float32(3.0) / np.float32(32768.0))
    )  # fmt: skip
    made = (multiplier(float(ratio)) for ratio in ratios)
    to_out, to_relu = (
        Multiplier(min((by.value + (1 << 15)) >> 16, 2**15 - 1), by.shift) for by in made
    )
    return to_out, to_relu


def _hard_swish(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
    to_out, to_relu = _hard_swish_multipliers(source, target)
    made = []
    for stored in _stored(source):
        value = fixed.wrapped_16((stored - zero_point(source)) * 128)
        out = fixed.doubling_high_16(value, to_out.value)
        gate = value
        if to_relu.shift > 0:
            gate = fixed.saturated_16(gate << (to_relu.shift - 1))
        gate = fixed.doubling_high_16(gate, to_relu.value)
        if to_relu.shift > 0:
            gate = fixed.saturated_16(gate << 1)
        if to_relu.shift < 0:
            gate = fixed.divide_by_power(gate, -to_relu.shift, bits=16)
        gate = (gate + (1 << 15)) >> 1
        product = fixed.doubling_high_16_truncated(gate, out)
        scaled = fixed.divide_by_power(product, -to_out.shift, bits=16)
        made.append(_clamped(fixed.wrapped_16(scaled + zero_point(target)), target))
    return made


def _sigmoid(function: Callable[[int], int], out_bits: int, zero: int, least: int) -> Table:
    """LOGISTIC or TANH; the output's scale is taken for granted, as the reference does."""

    def table(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
        by = multiplier(scale(source) * float(1 << _FRACTION))
        radius = ((1 << _INTEGER_BITS) - 1) * (1 << _FRACTION) // (1 << by.shift)
        made = []
        for stored in _stored(source):
            value = stored - zero_point(source)
            if abs(value) >= radius:
                made.append(127 if value > 0 else least)
                continue
            result = function(fixed.requantize(value, by))
            made.append(_clamped(fixed.divide_by_power(result, 31 - out_bits) + zero, target))
        return made

    return table


def _requantize(operator: Operator, source: Tensor, target: Tensor) -> list[int]:
    by = multiplier(scale(source) / scale(target))
    zero = zero_point(target)
    return [
        _clamped(zero + fixed.requantize(v - zero_point(source), by), target)
        for v in _stored(source)
    ]


def _by_table(table: Table) -> Callable[[Site], Code]:
    def emit(site: Site) -> Code:
        source, target = site.input(), site.output()
        results = table(site.operator, source, target)
        name = site.constant("table", "uint8_t", _byte_order(results, source.dtype))
        body = (
            f"    lookup({site.at(source, 'uint8_t')}, {name}, {site.at(target, 'uint8_t')}, "
            f"{target.n_elements});"
        )
        return Code(body, ("lookup.h",), 0, target.n_elements)

    return emit


def _byte_order(results: list[int], dtype: DType) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The results for the input's bytes 0 to 255."""
    stored = np.array(results).astype(np.uint8)
    return np.roll(stored, 128) if dtype is DType.INT8 else stored


def _dequantize(site: Site) -> Code:
    source, target = site.input(), site.output()
    reals = [f32(scale(source) * (v - zero_point(source))) for v in _stored(source)]
    table = np.array(reals, np.float32)
    ordered = np.roll(table, 128) if source.dtype is DType.INT8 else table
    name = site.constant("table", "float", ordered)
    body = (
        f"    lookup_f32({site.at(source, 'uint8_t')}, {name}, {site.at(target)}, "
        f"{target.n_elements});"
    )
    return Code(body, ("lookup.h",), 0, 4 * target.n_elements)


def _float(function: str, *rest: str) -> Callable[[Site], Code]:
    def emit(site: Site) -> Code:
        source, target = site.input(), site.output()
        given = (site.at(source), site.at(target), str(target.n_elements), *rest)
        return Code(f"    {function}({', '.join(given)});", ("float32.h",))

    return emit


def _leaky_float(site: Site) -> Code:
    return _float("leaky_relu_f32", float_literal(f32(site.operator.options["alpha"])))(site)


def _quantize_float(site: Site) -> Code:
    target = site.output()
    rest = (float_literal(scale(target)), str(zero_point(target)))
    return _float("quantize_f32", *rest)(site)


def _refuse(graph: Graph, operator: Operator) -> str | None:
    (source, target) = inputs_of(graph, operator)[0], output_of(graph, operator)
    return first(
        refuse_unscaled(operator, source, target), refuse_shape(operator, target, source.shape)
    )


def _refuse_sigmoid(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse(graph, operator)
    if reason is not None:
        return reason
    source, target = graph.tensors[operator.inputs[0]], output_of(graph, operator)
    if operator.kind == "LOGISTIC" and zero_point(target) != -128:
        return f"LOGISTIC needs an output with zero point -128, not {zero_point(target)}."
    if multiplier(scale(source) * float(1 << _FRACTION)).shift < 0:
        return f"{operator.kind} of an input with scale {scale(source):g}: too small."
    return None


def _refuse_hard_swish(graph: Graph, operator: Operator) -> str | None:
    reason = _refuse(graph, operator)
    if reason is not None:
        return reason
    source, target = graph.tensors[operator.inputs[0]], output_of(graph, operator)
    if _hard_swish_multipliers(source, target)[0].shift > 0:
        return "HARD_SWISH: the output's scale is less than 1/128 of the input's. Calibrate anew."
    return None


def _in_place(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    """Each element is read before its result, which is no wider, is written."""
    source, target = graph.tensors[operator.inputs[0]], output_of(graph, operator)
    return operator.inputs[:1] if target.n_bytes <= source.n_bytes else ()


def _entry(
    kind: str, version: int, types: tuple[DType, DType], emit: Callable[[Site], Code],
    refuse: Callable[[Graph, Operator], str | None] = _refuse,
) -> Entry:  # fmt: skip
    return Entry(kind, version, (types,), emit, refuse, overwrites=_in_place)


_BYTES = (DType.INT8, DType.UINT8)
_LOGISTIC = _sigmoid(fixed.logistic, 8, -128, -128)
_TANH = _sigmoid(fixed.tanh, 7, 0, -128)

ENTRIES = (
    _entry("RELU", 3, INT8, _by_table(_relu)),
    _entry("RELU6", 3, INT8, _by_table(_relu6)),
    _entry("LEAKY_RELU", 2, INT8, _by_table(_leaky_relu)),
    _entry("HARD_SWISH", 2, INT8, _by_table(_hard_swish), _refuse_hard_swish),
    _entry("LOGISTIC", 3, INT8, _by_table(_LOGISTIC), _refuse_sigmoid),
    _entry("TANH", 3, INT8, _by_table(_TANH), _refuse_sigmoid),
    _entry("QUANTIZE", 4, INT8, _by_table(_requantize)),
    _entry("QUANTIZE", 4, _BYTES, _by_table(_requantize)),
    _entry("QUANTIZE", 4, (DType.UINT8, DType.INT8), _by_table(_requantize)),
    _entry("QUANTIZE", 4, (DType.FLOAT32, DType.INT8), _quantize_float),
    _entry("DEQUANTIZE", 6, (DType.INT8, DType.FLOAT32), _dequantize),
    _entry("DEQUANTIZE", 6, (DType.UINT8, DType.FLOAT32), _dequantize),
    _entry("RELU", 3, FLOAT, _float("clamp_row_f32", *float_range("RELU"))),
    _entry("RELU6", 3, FLOAT, _float("clamp_row_f32", *float_range("RELU6"))),
    _entry("LEAKY_RELU", 2, FLOAT, _leaky_float),
    _entry("HARD_SWISH", 2, FLOAT, _float("hard_swish_f32")),
    _entry("LOGISTIC", 3, FLOAT, _float("logistic_f32")),
    _entry("TANH", 3, FLOAT, _float("tanh_f32")),
)
