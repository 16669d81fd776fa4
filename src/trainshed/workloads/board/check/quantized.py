"""Whether a float model can run on a board once it is quantised; nothing is quantised for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from trainshed.domain.board import Board, Estimate, Finding, Report
from trainshed.workloads.board.check.calibration import Shape, Unfit, names_of
from trainshed.workloads.board.check.rules import (
    BASE_CODE_BYTES,
    check_flash,
    check_parts,
    check_ram,
    check_whole,
    first,
    refused,
    unknown,
)  # fmt: skip
from trainshed.workloads.board.model.graph import DType, Graph, Tensor

ALREADY_INT8 = Finding(
    "already_quantized",
    "The model is already quantised. Submit it as it is (quantize=False), or send the float32 "
    "model to have it quantised.",
)
NOT_INSTALLED = Finding(
    "quantize_not_installed",
    "This server cannot quantise: run pip install 'trainshed[quantize]' there, or send a model "
    "that is int8 already.",
)
SYNTHESISED = Finding(
    "calibration_synthesised",
    "Without a calibration set the ranges come from random inputs, which costs accuracy; the "
    "accuracy change that is reported is on random inputs, too.",
)


def is_available() -> bool:
    """Whether the optional extra ``quantize`` is installed; imports nothing."""
    return find_spec("ai_edge_quantizer") is not None


def check_quantized(
    graph: Graph, board: Board, arrays: Mapping[str, Shape] | None = None
) -> Report:
    """Return what stands in the way. The estimate is a lower bound: sizes as int8, least plan.

    ``arrays``: of the calibration set, if there is one. The real result is checked again by the
    run.
    """
    if any(t.dtype == DType.INT8 for t in graph.tensors):
        return Report((ALREADY_INT8,), (), None)
    if not is_available():
        return Report((NOT_INSTALLED,), (), None)
    errors = first(check_whole(graph)) or first(
        refused(graph, op.index, reason)
        for op in graph.operators
        for reason in [unknown(op) or check_parts(graph, op)]
        if reason is not None
    )
    if errors:
        return Report(errors, (), None)
    unfit = _unfit(graph, arrays)
    if unfit is not None:
        return Report((unfit,), (), None)
    arena = _least_arena(graph)
    flash = sum(_as_int8(t) for t in graph.tensors if t.data is not None) + BASE_CODE_BYTES
    found = [f for f in (check_ram(arena, board), check_flash(flash, board)) if f is not None]
    warnings = (SYNTHESISED,) if arrays is None else ()
    return Report(tuple(found), warnings, Estimate(arena, flash, None, len(graph.operators)))


def _unfit(graph: Graph, arrays: Mapping[str, Shape] | None) -> Finding | None:
    try:
        if arrays is not None:
            names_of(graph, arrays)
    except Unfit as error:
        return Finding("calibration_unfit", str(error))
    return None


def _as_int8(tensor: Tensor) -> int:
    return tensor.n_elements if tensor.dtype == DType.FLOAT32 else tensor.n_bytes


def _least_arena(graph: Graph) -> int:
    """What the neediest operator reads and writes: no plan can be smaller."""
    return max(
        sum(
            _as_int8(graph.tensors[t])
            for t in {*op.inputs, *op.outputs}
            if t >= 0 and graph.tensors[t].data is None
        )
        for op in graph.operators
    )
