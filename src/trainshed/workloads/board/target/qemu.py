"""The emulated board: QEMU runs the firmware on the same core and counts instructions exactly.

No caches, wait states or dual issue are emulated: the counts are exact, times are estimates. The
firmware runs twice, the first time with the counter that sorts instructions by layer and class;
the two must agree.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
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
    TooLong,
)
from trainshed.workloads.board.target.split import split

EMULATOR = "qemu-system-arm"
#: An instruction takes 2**shift ns of emulated time: 20 ticks of the timer and more, fewer where an
#: inference is so long that its 32 bits would wrap. A difference of its values is wrong by up to a
#: tick, so below two ticks an instruction it would not be exact.
SHIFT, LEAST_SHIFT = 10, 7
TIMER_BITS = 32
#: What the loop around the layers may execute besides, at most.
HARNESS = 1_000_000
TIMEOUT_S = 300.0
#: How many instructions a layer's timer may count more: those that read it.
TIMER_ERROR = 32
_LAYER = re.compile(r"layer_(\d+)_\w+")


def command(machine: str, elf: str, shift: int = SHIFT) -> tuple[str, ...]:
    """Return the command that runs a firmware, for a folder that holds its ``input.bin``."""
    return (
        EMULATOR, "-M", machine, "-display", "none", "-monitor", "none", "-serial", "none",
        "-nic", "none", "-semihosting-config", "enable=on,target=native",
        "-icount", f"shift={shift}", "-kernel", elf,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Run:
    """One start of the emulator. ``layers``: instructions by the timer, of the first inference."""

    layers: tuple[int, ...]
    total: int
    stack_bytes: int
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

        Without a C compiler for this machine there is no mix of classes; the layers' counts are
        then the timer's alone.

        Raises:
            TooLong: an inference has more instructions than can be timed exactly.
            TargetFailed: no emulator or another fault of this machine, the firmware did not
                finish, or the two runs disagree.
        """
        symbols = layer_symbols(firmware.elf)
        counts = self._count(firmware, board, inputs[:1], folder / "counted", symbols)
        counted = sum(layer.instructions for layer in counts or ())
        shift = _shift(board, counted) if counts is not None else LEAST_SHIFT
        once = self._start(firmware, board, inputs, 1, folder / "once", shift)
        many = self._start(firmware, board, inputs[:1], n_inferences, folder / "many", shift)
        if len(many.layers) != len(symbols):
            raise TargetFailed(f"The firmware has {len(symbols)} layers and timed {many.layers}.")
        _agree(once, many, len(inputs))
        layers = tuple(LayerCount(s, n) for s, n in zip(symbols, many.layers, strict=True))
        if counts is not None:
            _plausible(counts, many.layers)
            layers = counts
        return Execution(
            outputs=split(once.output, len(inputs), firmware.output_bytes),
            instructions=many.total,
            layers=layers,
            overhead=many.total - sum(layer.instructions for layer in layers),
            stack_high_water_bytes=max(once.stack_bytes, many.stack_bytes),
            n_inferences=n_inferences,
            command=command(board.machine, "firmware.elf", shift),
        )

    def layer_outputs(
        self, firmware: Firmware, board: Board, inputs: Sequence[bytes], folder: Path
    ) -> bytes:
        """Return what each layer wrote in one inference, one after the other.

        Raises:
            TargetFailed: the firmware did not finish.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / console.INSPECT).touch()
        self._process(firmware, board, [inputs], 1, folder, SHIFT, ())
        return (folder / console.INSPECT).read_bytes()

    def _count(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]], folder: Path,
        symbols: Sequence[str],
    ) -> tuple[LayerCount, ...] | None:  # fmt: skip
        """One inference with the counter; None where it cannot be compiled."""
        folder.mkdir(parents=True, exist_ok=True)
        library = counter.compiled(self._cache, folder)
        if library is None:
            return None
        counter.write_spans(symbols, counter.functions(firmware.elf), folder)
        plugin = ("-plugin", f"{library.resolve()},spans={counter.SPANS},out={counter.BLOCKS}")
        self._process(firmware, board, inputs, 1, folder, SHIFT, plugin)
        return counter.read_counts(firmware.elf, symbols, folder)

    def _start(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path, shift: int,
    ) -> _Run:  # fmt: skip
        text = self._process(firmware, board, inputs, n_inferences, folder, shift, ())
        said = console.parse(text, len(inputs), n_inferences)
        try:
            output = (folder / console.OUTPUT).read_bytes()
        except OSError as error:
            raise TargetFailed("The firmware wrote no output.") from error
        machine = MACHINES[board.machine]
        took = {key: _instructions(ticks, machine, shift) for key, ticks in said.inferences.items()}
        for one in range(len(inputs)):
            if len({took[one, i] for i in range(n_inferences)}) > 1:
                raise TargetFailed("Two inferences on one input did not take the same time.")
        return _Run(
            layers=tuple(_instructions(ticks, machine, shift) for ticks in said.layers),
            total=took[0, 0],
            stack_bytes=said.stack_bytes,
            output=output,
        )

    def _process(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path, shift: int, plugin: Sequence[str],
    ) -> str:  # fmt: skip
        """Run the emulator in the folder and return what the firmware said."""
        machine = MACHINES.get(board.machine)
        if machine is None:
            raise TargetFailed(f"There is no emulated machine {board.machine!r}.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / console.INPUT).write_bytes(console.input_file(inputs, n_inferences))
        line = (*command(machine.name, str(firmware.elf.resolve()), shift), *plugin)
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


def _shift(board: Board, counted: int) -> int:
    """Return the longest emulated time of an instruction with which the timer does not wrap."""
    most = 0
    for shift in range(SHIFT, LEAST_SHIFT - 1, -1):
        most = (1_000_000_000 << TIMER_BITS) // (MACHINES[board.machine].timer_hz << shift)
        if counted + HARNESS < most:
            return shift
    raise TooLong(
        f"One inference takes {counted / 1e6:,.0f} million instructions; at most "
        f"{(most - HARNESS) / 1e6:,.0f} million are emulated for this board. Use a smaller input "
        "or fewer channels."
    )


def _instructions(ticks: int, machine: Machine, shift: int) -> int:
    """Ticks to the nearest whole number of instructions."""
    per_second = machine.timer_hz << shift
    return (ticks * 2_000_000_000 + per_second) // (2 * per_second)


def _agree(once: _Run, many: _Run, n_sets: int) -> None:
    """The second run took as long as the first, layer by layer, and gave the same."""
    if once.layers != many.layers or once.total != many.total:
        raise TargetFailed("Two emulated runs of the same firmware took different counts.")
    if once.output[: len(once.output) // n_sets] != many.output:
        raise TargetFailed("Two emulated runs of the same firmware gave different results.")


def _plausible(counts: Sequence[LayerCount], timed: Sequence[int]) -> None:
    for layer, ticked in zip(counts, timed, strict=True):
        if not 0 <= ticked - layer.instructions <= TIMER_ERROR:
            raise TargetFailed(
                f"{layer.symbol} executed {layer.instructions}, the timer says {ticked}."
            )
