"""A recording of a power profiler: where in it the inferences are, and what they drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainshed.workloads.board.target.protocol import PowerTrace, TargetFailed

#: The pin is low for longer than this before the first inference, never between two. What it does
#: before is noise: nothing drives it until the firmware has begun.
START_LOW_S = 0.05
#: Inferences on one board that differ by more were disturbed.
MAX_SPREAD = 0.02
#: How many samples a trace shows at most; with more, neighbours are averaged.
MAX_SAMPLES = 200_000


@dataclass(frozen=True, slots=True)
class Recording:
    """``currents_ua`` (float64) and ``pin`` (bool), as long as each other, ``step_s`` apart."""

    step_s: float
    currents_ua: Any
    pin: Any


def inferences(pin: Any, step_s: float) -> list[tuple[int, int]]:
    """Return (first sample, sample after the last) of each whole time the pin was high, after the
    last long low that something follows.
    """
    edges = np.diff(np.concatenate(([False], np.asarray(pin, bool), [False])).astype(np.int8))
    rises, falls = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lows = rises - np.concatenate(([0], falls[:-1]))
    starts = np.flatnonzero(lows * step_s >= START_LOW_S)
    if not len(starts):
        return []
    found = zip(rises[starts[-1] :], falls[starts[-1] :], strict=True)
    return [(int(a), int(b)) for a, b in found if b < len(pin)]


def seconds_of(windows: Sequence[tuple[int, int]], step_s: float) -> tuple[float, ...]:
    """Return how long each inference took.

    Raises:
        TargetFailed: they differ, which the same code on the same input does not.
    """
    lengths = [b - a for a, b in windows]
    if max(lengths) - min(lengths) > max(2, MAX_SPREAD * max(lengths)):
        raise TargetFailed(
            f"Inferences on one input took from {min(lengths) * step_s * 1000:.2f} to "
            f"{max(lengths) * step_s * 1000:.2f} ms. Check the wire from the pin to D0 and the "
            "ground, and that nothing else runs on the board."
        )
    return tuple(length * step_s for length in lengths)


def trace_of(recording: Recording, windows: Sequence[tuple[int, int]]) -> PowerTrace:
    """Return what each inference drew, all cut to the shortest: at most a few samples."""
    length = min(b - a for a, b in windows)
    width = -(-length * len(windows) // MAX_SAMPLES)
    length = length // width * width
    currents = [
        np.asarray(recording.currents_ua[a : a + length], float).reshape(-1, width).mean(axis=1)
        for a, _ in windows
    ]
    return PowerTrace(recording.step_s * width * 1000, [part.tolist() for part in currents])
