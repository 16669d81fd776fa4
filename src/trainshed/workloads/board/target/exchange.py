"""What goes into a firmware and comes out of it: the files that ``main.c`` describes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from trainshed.workloads.board.compiler.program import Program

IN, OUT, LAYERS, COUNTS = "in.bin", "out.bin", "layers.bin", "counts.bin"
_MAGIC_IN, _MAGIC_COUNTS = b"TRSI", b"TRSC"

InputSets = Sequence[Sequence[bytes]]


class BadAnswer(Exception):
    """The firmware's files are not what it should have written."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """Timer ticks of one inference: of each layer, and in all."""

    layers: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Counts:
    """``nothing``: ticks of a layer that does nothing, part of each layer's ticks.

    ``inferences``: for each model, for each set, each inference.
    """

    nothing: int
    stack_high_water_bytes: int
    inferences: tuple[tuple[tuple[Ticks, ...], ...], ...]


def pack_inputs(models: Sequence[InputSets], n_inferences: int, with_layers: bool) -> bytes:
    """Return ``in.bin``: for each model its input sets, as many for each."""
    n_sets = len(models[0])
    if any(len(sets) != n_sets for sets in models):
        raise ValueError("each model needs as many input sets")
    head = _MAGIC_IN + struct.pack("<3I", n_sets, n_inferences, with_layers)
    return head + b"".join(part for sets in models for parts in sets for part in parts)


def split_outputs(data: bytes, sizes: Sequence[int], n_sets: int) -> list[tuple[bytes, ...]]:
    """Return, for each set, the parts of ``out.bin`` or ``layers.bin`` of one model.

    Raises:
        BadAnswer: the length is wrong.
    """
    if len(data) != n_sets * sum(sizes):
        raise BadAnswer(f"{len(data)} bytes of results, not {n_sets * sum(sizes)}")
    answers: list[tuple[bytes, ...]] = []
    at = 0
    for _ in range(n_sets):
        parts: list[bytes] = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        answers.append(tuple(parts))
    return answers


def output_sizes(program: Program) -> list[int]:
    """Return the bytes of one set in ``out.bin``."""
    return [port.n_bytes for port in program.outputs]


def layer_sizes(program: Program) -> list[int]:
    """Return the bytes of one set in ``layers.bin``."""
    return [port.n_bytes for port in program.outputs_of]


def read_counts(data: bytes, n_sets: int, n_inferences: int) -> Counts:
    """Return what ``counts.bin`` says.

    Raises:
        BadAnswer: it is cut off or something else.
    """
    if len(data) < 16 or len(data) % 4 or data[:4] != _MAGIC_COUNTS:
        raise BadAnswer("no counts")
    words = struct.unpack(f"<{len(data) // 4}I", data)
    n_models, nothing, stack = words[1:4]
    at = 4
    models: list[tuple[tuple[Ticks, ...], ...]] = []
    for _ in range(n_models):
        n_layers = words[at] if at < len(words) else 0
        end = at + 1 + n_sets * n_inferences * (n_layers + 1)
        if end > len(words):
            raise BadAnswer("the counts are cut off")
        rows = [
            Ticks(words[i : i + n_layers], words[i + n_layers])
            for i in range(at + 1, end, n_layers + 1)
        ]
        models.append(
            tuple(tuple(rows[s * n_inferences : (s + 1) * n_inferences]) for s in range(n_sets))
        )
        at = end
    if at != len(words):
        raise BadAnswer("there is more than the counts")
    return Counts(nothing, stack, tuple(models))
