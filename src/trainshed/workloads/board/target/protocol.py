"""What a board is to the pipeline, emulated or real: it runs a firmware and says what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainshed.domain.board import Board


@dataclass(frozen=True, slots=True)
class Firmware:
    """A linked program. ``flags`` and ``compiler`` are printed with every result.

    ``output_bytes``: the sizes of the model's outputs, in graph order.
    """

    elf: Path
    sha256: str
    flags: tuple[str, ...]
    compiler: str
    output_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerCount:
    """What one layer executed in one inference. ``classes``: instruction class -> count."""

    symbol: str
    instructions: int
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """A measured trace: per inference the current in µA at a fixed step."""

    step_ms: float
    currents_ua: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Execution:
    """What ``Target.run`` saw. ``outputs``: per input set, the outputs' bytes in graph order.

    ``instructions`` of one whole inference, the sum over ``layers`` plus ``overhead``. A real
    board gives ``seconds`` per inference and a ``trace`` instead of instructions. ``command``
    runs the same firmware by hand.
    """

    outputs: tuple[tuple[bytes, ...], ...]
    instructions: int
    layers: tuple[LayerCount, ...]
    overhead: int
    stack_high_water_bytes: int
    n_inferences: int
    seconds: tuple[float, ...] = ()
    trace: PowerTrace | None = None
    command: tuple[str, ...] = ()


class TargetFailed(Exception):
    """The board, not the model, is at fault; the text says what to do. No run is charged."""


class TooLong(TargetFailed):
    """An inference of this model takes longer than the target can count: the model is at fault."""


class Target(Protocol):
    """``emulated`` (QEMU) or ``measured`` (a probe and a power profiler)."""

    def run(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path,
    ) -> Execution:  # fmt: skip
        """Run ``n_inferences`` on the first input set, and at least one on each other.

        A set is the bytes of each model input, in graph order.

        Raises:
            TargetFailed: it cannot run, or two runs disagree.
        """
