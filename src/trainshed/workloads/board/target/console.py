"""What the firmware reads and says: its input file, and the lines it prints."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from trainshed.workloads.board.target.protocol import TargetFailed

INPUT, OUTPUT, INSPECT = "input.bin", "output.bin", "inspect.bin"


@dataclass(frozen=True, slots=True)
class Said:
    """``inferences``: (set, index) -> ticks; ``layers``: ticks of the first inference."""

    inferences: dict[tuple[int, int], int]
    layers: tuple[int, ...]
    stack_bytes: int


def input_file(inputs: Sequence[Sequence[bytes]], n_inferences: int) -> bytes:
    """Return ``input.bin``: how many sets, how many inferences on each, and their bytes."""
    data = b"".join(part for one in inputs for part in one)
    return struct.pack("<II", len(inputs), n_inferences) + data


def parse(text: str, n_sets: int, n_inferences: int) -> Said:
    """Return what the firmware said.

    Raises:
        TargetFailed: it did not say all; the text ends with its last lines.
    """
    inferences: dict[tuple[int, int], int] = {}
    layers: dict[int, int] = {}
    stack = -1
    done = False
    for line in text.splitlines():
        match line.split():
            case ["inference", one, index, ticks]:
                inferences[int(one), int(index)] = int(ticks)
            case ["layer", index, ticks]:
                layers[int(index)] = int(ticks)
            case ["stack", n]:
                stack = int(n)
            case ["done"]:
                done = True
    expected = {(s, i) for s in range(n_sets) for i in range(n_inferences)}
    if (
        not done
        or stack < 0
        or set(inferences) != expected
        or set(layers) != set(range(len(layers)))
    ):
        raise TargetFailed(
            f"The firmware did not finish; it said: {text[-500:].strip() or 'nothing'}"
        )
    return Said(inferences, tuple(layers[i] for i in range(len(layers))), stack)
