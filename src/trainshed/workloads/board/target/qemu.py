"""The emulated board: QEMU runs the firmware on the same core and counts instructions exactly.

No caches, wait states or dual issue are emulated: the counts are exact, times are estimates. The
firmware runs twice, the second time with the counter that sorts instructions by layer and class;
the two must agree.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainshed.domain.board import Board
from trainshed.workloads.board.target import console, counter
from trainshed.workloads.board.target.machines import MACHINES, Machine
from trainshed.workloads.board.target.protocol import (
    Execution,
    Firmware,
    LayerCount,
    TargetFailed,
)

EMULATOR = "qemu-system-arm"
#: An instruction takes 2**SHIFT ns of emulated time, so the timer ticks 20 times or more for each.
SHIFT = 10
TIMEOUT_S = 300.0
#: What reading the timer around a layer may add to its count.
TIMER_READ = 64
_LAYER = re.compile(r"layer_(\d+)_\w+")


def command(machine: str, elf: str) -> tuple[str, ...]:
    """Return the command that runs a firmware, for a folder that holds its ``input.bin``."""
    return (
        EMULATOR, "-M", machine, "-display", "none", "-monitor", "none", "-serial", "none",
        "-nic", "none", "-semihosting-config", "enable=on,target=native",
        "-icount", f"shift={SHIFT}", "-kernel", elf,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Run:
    """One start of the emulator."""

    said: console.Said
    output: bytes


class Emulator:
    """Implements ``target.protocol.Target``. ``cache``: where the compiled counter is kept."""

    def __init__(self, cache: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._cache = cache
        self._timeout_s = timeout_s

    def run(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path,
    ) -> Execution:  # fmt: skip
        """Run the firmware twice and return what it did; ``folder`` is scratch.

        Without a C compiler for this machine there is no mix of classes: the layers' counts are
        then the timer's, and include reading it.

        Raises:
            TargetFailed: no emulator or another fault of this machine, the firmware did not
                finish, or the two runs disagree.
        """
        machine = MACHINES.get(board.machine)
        if machine is None:
            raise TargetFailed(f"There is no emulated machine {board.machine!r}.")
        symbols = layer_symbols(firmware.elf)
        n_sets = len(inputs)
        first = self._start(machine, firmware, inputs, n_inferences, folder / "run-1", ())
        again = folder / "run-2"
        again.mkdir(parents=True, exist_ok=True)
        library = counter.compiled(self._cache, folder)
        plugin: tuple[str, ...] = ()
        if library is not None:
            counter.write_spans(symbols, counter.functions(firmware.elf), again)
            plugin = ("-plugin", f"{library.resolve()},spans={counter.SPANS},out={counter.BLOCKS}")
        second = self._start(machine, firmware, inputs[:1], 1, again, plugin)
        _agree(first, second, n_sets)
        total = _instructions(first.said.inferences[0, 0], machine)
        timed = [_instructions(ticks, machine) for ticks in first.said.layers]
        if len(timed) != len(symbols):
            raise TargetFailed(f"The firmware has {len(symbols)} layers and timed {len(timed)}.")
        layers = tuple(LayerCount(s, n) for s, n in zip(symbols, timed, strict=True))
        if library is not None:
            layers = counter.read_counts(firmware.elf, symbols, again, 1)
            _plausible(layers, timed)
        return Execution(
            outputs=_split(first.output, n_sets, firmware.output_bytes),
            instructions=total,
            layers=layers,
            overhead=total - sum(layer.instructions for layer in layers),
            stack_high_water_bytes=first.said.stack_bytes,
            n_inferences=n_inferences,
            command=command(board.machine, "firmware.elf"),
        )

    def _start(
        self, machine: Machine, firmware: Firmware, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path, plugin: tuple[str, ...],
    ) -> _Run:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / console.INPUT).write_bytes(console.input_file(inputs, n_inferences))
        line = (*command(machine.name, str(firmware.elf.resolve())), *plugin)
        text = self._process(line, folder)
        try:
            output = (folder / console.OUTPUT).read_bytes()
        except OSError as error:
            raise TargetFailed(f"The firmware wrote no output; it said: {text[-500:]}") from error
        return _Run(console.parse(text, len(inputs), n_inferences), output)

    def _process(self, line: Sequence[str], folder: Path) -> str:
        """Run the emulator and return what came on its console, which is its standard error."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        try:
            done = subprocess.run(
                line, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=self._timeout_s,
                check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise TargetFailed(f"{EMULATOR} is not installed on this machine.") from error
        except subprocess.TimeoutExpired as error:
            raise TargetFailed(f"The emulator took longer than {self._timeout_s:g} s.") from error
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise TargetFailed(
                f"The emulator ended with {done.returncode}; it said: {text[-500:].strip()}"
            )
        return text


def layer_symbols(elf: Path) -> tuple[str, ...]:
    """Return the functions of the layers, in the order they run."""
    found = [(int(m[1]), m[0]) for name in counter.functions(elf) if (m := _LAYER.fullmatch(name))]
    return tuple(symbol for _, symbol in sorted(found))


def _instructions(ticks: int, machine: Machine) -> int:
    ns = machine.timer_hz << SHIFT
    return (ticks * 2_000_000_000 + ns) // (2 * ns)


def _agree(first: _Run, second: _Run, n_sets: int) -> None:
    """All inferences on one input, and the second run, took the same and gave the same."""
    by_set: dict[int, set[int]] = {}
    for (one, _), ticks in first.said.inferences.items():
        by_set.setdefault(one, set()).add(ticks)
    for one, seen in by_set.items():
        if max(seen) - min(seen) > 1:
            raise TargetFailed(f"Inferences on input {one} took {sorted(seen)} ticks.")
    same = (
        abs(first.said.inferences[0, 0] - second.said.inferences[0, 0]) <= 1
        and all(abs(a - b) <= 1 for a, b in zip(first.said.layers, second.said.layers, strict=True))
        and first.output[: len(first.output) // n_sets] == second.output
    )
    if not same:
        raise TargetFailed("Two emulated runs of the same firmware disagree.")


def _plausible(layers: Sequence[LayerCount], timed: Sequence[int]) -> None:
    for layer, ticked in zip(layers, timed, strict=True):
        if not 0 <= ticked - layer.instructions <= TIMER_READ:
            raise TargetFailed(
                f"{layer.symbol} was counted {layer.instructions} times and timed {ticked}."
            )


def _split(output: bytes, n_sets: int, sizes: Sequence[int]) -> tuple[tuple[bytes, ...], ...]:
    """The outputs of each set, in graph order."""
    if len(output) != n_sets * sum(sizes):
        raise TargetFailed(f"The firmware wrote {len(output)} bytes, not {n_sets * sum(sizes)}.")
    sets = []
    at = 0
    for _ in range(n_sets):
        parts = []
        for size in sizes:
            parts.append(output[at : at + size])
            at += size
        sets.append(tuple(parts))
    return tuple(sets)


def sum_classes(layers: Sequence[LayerCount]) -> Mapping[str, int]:
    """Return the executed instructions by class, over all layers; empty where not counted."""
    total: dict[str, int] = {}
    for layer in layers:
        for name, count in layer.classes.items():
            total[name] = total.get(name, 0) + count
    return total
