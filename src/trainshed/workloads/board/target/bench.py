"""The board on the bench: a debug probe writes its flash, a power profiler watches it work.

The image is built for the board itself (``firmware/bench.c``), runs alone, and holds a pin high for
as long as an inference takes. Time is therefore what the profiler counted between two edges.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from trainshed.domain.board import Board, Wiring
from trainshed.workloads.board.target.protocol import Execution, Firmware, TargetFailed
from trainshed.workloads.board.target.split import split
from trainshed.workloads.board.target.windows import Recording, inferences, seconds_of, trace_of

TIMEOUT_S = 300.0
DONE = 2


class Probe(Protocol):
    """Writes flash and reads memory. Both raise TargetFailed."""

    def flash(self, wiring: Wiring, parts: Sequence[tuple[int, bytes]]) -> None:
        """Write (address, bytes) to flash."""

    def read(self, wiring: Wiring, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes at each (address, size), without stopping the board."""


class Meter(Protocol):
    """Switches the board on and off and samples its current. All raise TargetFailed."""

    def power(self, voltage_mv: int) -> None:
        """Switch the board on."""

    def record(self, n_inferences: int, timeout_s: float) -> Recording:
        """Restart the board and record until the pin has marked that many inferences."""

    def close(self) -> None:
        """Let go; the board stays on."""


class Bench:
    """Implements ``target.protocol.Target`` for an image of ``build_bench``."""

    def __init__(self, probe: Probe, meter: Meter, timeout_s: float = TIMEOUT_S) -> None:
        """``timeout_s``: for all inferences of a run."""
        self._probe = probe
        self._meter = meter
        self._timeout_s = timeout_s

    def run(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path,
    ) -> Execution:  # fmt: skip
        """Measure ``n_inferences`` on the first input set, and run the others once.

        Nothing is counted, so ``instructions`` is 0 and ``layers`` is empty.

        Raises:
            TargetFailed: the board has no wiring, or anything on the bench failed.
        """
        wiring = wiring_of(board)
        parts, places = _image(firmware, board, wiring)
        name = secrets.randbits(32)
        data = struct.pack("<III", name, len(inputs), n_inferences)
        data += b"".join(part for one in inputs for part in one)
        parts.append((places["bench_inputs"], data))
        _must_fit(parts, board, wiring)
        size = len(inputs) * sum(firmware.output_bytes)
        n_windows = n_inferences + len(inputs) - 1
        try:
            self._meter.power(board.power.voltage_mv)
            self._probe.flash(wiring, parts)
            recording = self._meter.record(n_windows, self._timeout_s)
            mailbox, kept = self._probe.read(
                wiring, [(places["mailbox"], 12), (places["kept"], size)]
            )
        finally:
            self._meter.close()
        run, state, stack = struct.unpack("<III", mailbox)
        if run != name or state != DONE:
            raise TargetFailed(
                "The board did not finish this run: "
                + ("its program crashed." if run == name else "another program is on it.")
                + " Try again; if it stays so, check the board's file and its setup."
            )
        windows = inferences(recording.pin, recording.step_s)[:n_inferences]
        return Execution(
            outputs=split(kept, len(inputs), firmware.output_bytes),
            instructions=0,
            layers=(),
            overhead=0,
            stack_high_water_bytes=stack,
            n_inferences=n_inferences,
            seconds=seconds_of(windows, recording.step_s),
            trace=trace_of(recording, windows),
        )


def wiring_of(board: Board) -> Wiring:
    """Return how the board is wired.

    Raises:
        TargetFailed: its file does not say.
    """
    if board.wiring is None:
        raise TargetFailed(
            f"{board.name} cannot be measured: its file has no section [wiring]. "
            "docs/boards-real.md says what goes into one."
        )
    return board.wiring


def _image(
    firmware: Firmware, board: Board, wiring: Wiring
) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    """Return what goes into flash, and where the image's own symbols are."""
    with firmware.elf.open("rb") as file:
        elf = ELFFile(file)
        parts = [
            (segment["p_paddr"], segment.data())
            for segment in elf.iter_segments("PT_LOAD")
            if segment["p_filesz"]
        ]
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise TargetFailed("The firmware has no symbols.")
        found = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
    missing = [name for name in ("bench_inputs", "mailbox", "kept") if name not in found]
    if missing:
        raise TargetFailed(f"The firmware is none for a real board: it lacks {missing[0]}.")
    return parts, found


def _must_fit(parts: Sequence[tuple[int, bytes]], board: Board, wiring: Wiring) -> None:
    """Nothing but the board's flash is written: not its options, not its fuses."""
    end = wiring.flash_origin + board.memory.flash_bytes
    for address, data in parts:
        if address < wiring.flash_origin or address + len(data) > end:
            raise TargetFailed(
                f"The image and its inputs need flash up to {address + len(data):#x}; the board's "
                f"flash is {wiring.flash_origin:#x} to {end:#x}."
            )
