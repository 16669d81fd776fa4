"""Ours against the reference: random inputs, equal bytes, and which layer differs first if not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from trainshed.domain.board import Board
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.model.graph import DType, Graph, Tensor
from trainshed.workloads.board.oracle import (
    FLOAT_TOLERANCE,
    agrees,
    first_difference,
    run_reference,
)
from trainshed.workloads.board.run.outcome import RunFailed
from trainshed.workloads.board.target.protocol import Execution, Firmware, Target

REFERENCE = "TensorFlow Lite Micro"
_INTEGERS = {DType.INT8: "i1", DType.UINT8: "u1", DType.INT16: "<i2", DType.BOOL: "u1"}
#: Wider integers are indexes and shapes more often than numbers.
_SMALL = 8


@runtime_checkable
class _ShowsLayers(Protocol):
    """What an emulator can do and a board at a probe need not."""

    def layer_outputs(
        self, firmware: Firmware, board: Board, inputs: Sequence[bytes], folder: Path
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that agreed. ``tolerance``: 0 where all outputs are equal byte by byte.

    ``n_outputs``: how many of the inputs gave outputs of their own; ``warnings``: why the agreement
    says less than it seems.
    """

    reference: str
    n_inputs: int
    tolerance: float
    input_sha256: str
    output_sha256: str
    n_outputs: int
    warnings: tuple[str, ...] = ()


def random_inputs(graph: Graph, n_sets: int, seed: int) -> tuple[tuple[bytes, ...], ...]:
    """Return ``n_sets`` times the bytes of all inputs; the same seed gives the same."""
    generator = np.random.default_rng(seed)
    return tuple(
        tuple(_random(graph.tensors[index], generator) for index in graph.inputs)
        for _ in range(n_sets)
    )


def compare(
    model: bytes, graph: Graph, program: Program, firmware: Firmware, board: Board,
    inputs: Sequence[Sequence[bytes]], execution: Execution, target: Target, folder: Path,
) -> Comparison:  # fmt: skip
    """Return what was compared; ``folder`` is scratch.

    Raises:
        RunFailed: ``mismatch``, with the first layer that differs where the target can tell.
        ReferenceFailed: the reference has no result.
    """
    reference = run_reference(model, inputs)
    types = [graph.tensors[index].dtype for index in graph.outputs]
    for one, (ours, theirs) in enumerate(zip(execution.outputs, reference, strict=True)):
        for output, (dtype, a, b) in enumerate(zip(types, ours, theirs, strict=True)):
            if not agrees(dtype, a, b):
                where = _where(model, program, firmware, board, inputs[one], target, folder)
                raise RunFailed(
                    "mismatch",
                    f"Output {output} differs from {REFERENCE} on random input {one}{where}.",
                )
    everything = b"".join(part for one in execution.outputs for part in one)
    return Comparison(
        REFERENCE,
        len(inputs),
        FLOAT_TOLERANCE if DType.FLOAT32 in types else 0.0,
        hashlib.sha256(b"".join(part for one in inputs for part in one)).hexdigest(),
        hashlib.sha256(everything).hexdigest(),
        len(set(execution.outputs)),
        _doubts(types, execution.outputs),
    )


def _doubts(types: Sequence[DType], outputs: Sequence[Sequence[bytes]]) -> tuple[str, ...]:
    """Say where equal outputs prove little: they do not depend on the input, or are no numbers."""
    out = []
    if len({tuple(one) for one in outputs}) == 1 < len(outputs):
        out.append(
            "All random inputs gave the same output, so that it agrees says little: the model may "
            "saturate on such inputs, or ignore them."
        )
    floats = (
        np.frombuffer(part, np.float32)
        for one in outputs
        for dtype, part in zip(types, one, strict=True)
        if dtype is DType.FLOAT32
    )
    if not all(np.isfinite(part).all() for part in floats):
        out.append("Some outputs are not finite numbers, here and in the reference.")
    return tuple(out)


def _where(
    model: bytes, program: Program, firmware: Firmware, board: Board, inputs: Sequence[bytes],
    target: Target, folder: Path,
) -> str:  # fmt: skip
    """Name the first layer that differs, for the message."""
    if not isinstance(target, _ShowsLayers):
        return " on the real board, where the emulated one agreed; check its setup and its supply"
    data = target.layer_outputs(firmware, board, inputs, folder)
    ends = accumulate((port.n_bytes for port in program.outputs_of), initial=0)
    results = [data[a:b] for a, b in pairwise(ends)]
    by_operator = {
        layer.operator: result for layer, result in zip(program.layers, results, strict=True)
    }
    operator = first_difference(model, inputs, by_operator.get)
    symbol = next((x.symbol for x in program.layers if x.operator == operator), None)
    return f"; the first layer that differs is {symbol} (operator {operator})" if symbol else ""


def _random(tensor: Tensor, generator: np.random.Generator) -> bytes:
    n = tensor.n_elements
    if tensor.dtype is DType.FLOAT32:
        return generator.standard_normal(n, np.float32).tobytes()
    kind = _INTEGERS.get(tensor.dtype)
    if kind is None:
        wide = "<i4" if tensor.dtype is DType.INT32 else "<i8"
        return generator.integers(0, _SMALL, n).astype(wide).tobytes()
    if tensor.dtype is DType.BOOL:
        return generator.integers(0, 2, n).astype(kind).tobytes()
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, n, endpoint=True).astype(kind).tobytes()
