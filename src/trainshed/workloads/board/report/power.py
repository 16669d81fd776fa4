"""The power trace as two CSV files, in the format of a PPK2 export and for `mimaas.viz`.

``ppk2_samples.csv``: ``segment_id,time_ms,current_uA,source``. A segment is one inference; all have
the same times, from 0 to the duration. ``ppk2_summary.csv``: a row a segment, and beside each the
means over all. Provenance is the last column, never a comment.

The trace of an emulated run is the model's constant current, in as many equal segments as there
were inferences; no noise is made up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from trainshed.domain.board import Source
from trainshed.workloads.board.target.protocol import PowerTrace

SAMPLES, SUMMARY = "ppk2_samples.csv", "ppk2_summary.csv"
#: The step of a PPK2, 100 kHz. Longer where that gave too many rows, shorter for an inference of
#: less than a millisecond, so that the last sample is within 1 % of the duration.
STEP_MS = 0.01
MAX_ROWS = 250_000
MIN_STEPS = 100
_COLUMNS = (
    "segment_id,duration_ms,avg_current_uA,min_current_uA,max_current_uA,avg_power_uW,energy_uJ,"
    "mean_duration_ms,mean_power_uW,mean_energy_uJ,step_ms,voltage_mV,source"
)


def emulated_trace(duration_s: float, current_ua: float, n_inferences: int) -> PowerTrace:
    """Return ``n_inferences`` equal segments of a constant current."""
    duration_ms = duration_s * 1000
    step = grid_step_ms(duration_ms, n_inferences)
    n = max(1, round(duration_ms / step)) + 1
    return PowerTrace(step, [[current_ua] * n] * n_inferences)


def grid_step_ms(duration_ms: float, n_segments: int) -> float:
    """Return the step: 1, 2 or 5 times a power of ten."""
    step = STEP_MS
    while duration_ms / step < MIN_STEPS:
        step /= 10
    least = duration_ms * n_segments / MAX_ROWS
    for factor in (1, 2, 5) if least > step else ():
        coarse = factor * 10.0 ** math.floor(math.log10(least))
        if coarse >= least:
            return coarse
    return 10.0 ** math.ceil(math.log10(least)) if least > step else step


def write_power(
    folder: Path, trace: PowerTrace, durations_s: Sequence[float], voltage_mv: int, source: Source
) -> None:
    """Write both files. ``durations_s``: of each segment."""
    digits = max(2, math.ceil(-math.log10(trace.step_ms) - 1e-9))
    with (folder / SAMPLES).open("w", encoding="ascii") as file:
        file.write("segment_id,time_ms,current_uA,source\n")
        for segment, currents in enumerate(trace.currents_ua):
            file.writelines(
                f"{segment},{i * trace.step_ms:.{digits}f},{current:.10g},{source}\n"
                for i, current in enumerate(currents)
            )
    rows = [
        _segment(currents, duration, voltage_mv)
        for currents, duration in zip(trace.currents_ua, durations_s, strict=True)
    ]
    means = [fmean(row[i] for row in rows) for i in (0, 4, 5)]
    tail = ",".join([*(f"{v:.10g}" for v in means), f"{trace.step_ms:g}", f"{voltage_mv},{source}"])
    with (folder / SUMMARY).open("w", encoding="ascii") as file:
        file.write(_COLUMNS + "\n")
        for segment, row in enumerate(rows):
            file.write(f"{segment},{','.join(f'{v:.10g}' for v in row)},{tail}\n")


def _segment(
    currents: Sequence[float], duration_s: float, voltage_mv: int
) -> tuple[float, float, float, float, float, float]:
    mean = fmean(currents)
    power = mean * voltage_mv / 1000
    return duration_s * 1000, mean, min(currents), max(currents), power, power * duration_s
