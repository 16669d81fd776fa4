"""``report.json``: all figures of a run, where they come from, and what made them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from trainshed.domain.board import Board, Figure, Source
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.target.protocol import Execution, Firmware, LayerCount
from trainshed.workloads.board.timing.estimate import Timed, fitted_factor

FORMAT = 1


def result_of(timed: Timed, ram_bytes: int, rom_bytes: int) -> dict[str, float]:
    """Return the five figures in the contract's words."""
    return {
        "ram_usage": ram_bytes,
        "rom_usage": rom_bytes,
        "duration_avg_s": timed.duration.value,
        "avg_power_uW": timed.power.value,
        "avg_energy_uJ": timed.energy.value,
    }


def figures(
    timed: Timed, execution: Execution, program: Program, ram_bytes: int, rom_bytes: int
) -> dict[str, dict[str, Any]]:
    """Return name -> value with its unit, source and band; a band of 0 is an exact count."""

    def row(figure: Figure, unit: str) -> dict[str, Any]:
        return {**asdict(figure), "unit": unit}

    def exact(value: float, unit: str) -> dict[str, Any]:
        return row(Figure(value, Source.EMULATED, 0.0), unit)

    return {
        "duration_avg_s": row(timed.duration, "s"),
        "avg_power_uW": row(timed.power, "µW"),
        "avg_energy_uJ": row(timed.energy, "µJ"),
        "ram_usage": exact(ram_bytes, "bytes"),
        "rom_usage": exact(rom_bytes, "bytes"),
        "instructions": exact(execution.instructions, "instructions"),
        "arena": exact(program.arena_bytes, "bytes"),
        "stack_high_water": exact(execution.stack_high_water_bytes, "bytes"),
    }


def timing_of(timed: Timed, board: Board) -> dict[str, Any]:
    """Return how the time came about, and what it is no evidence for."""
    engine, day = board.timing.engine, board.timing.measured_on
    measured = timed.duration.source is Source.MEASURED
    if measured:
        basis = (
            "A power profiler timed this model on a real board. The times of layers are shares of "
            "that, as the model of time divides it."
        )
    elif day:
        basis = (
            f"The factor was fitted on {day} to a model measured on a board of this installation, "
            "with these kernels."
        )
    elif engine:
        basis = (
            f"The factor was fitted to published times of {engine} on this board. It contains how "
            "that engine's kernels differ from these: the figure is what an inference takes with "
            "an engine of that kind."
        )
    else:
        basis = "There are no published times for this board: the factor is that of its core."
    return {
        "model_version": timed.version,
        "status": "measured" if measured else "calibrated" if engine or day else "predicted",
        "reference_engine": engine or None,
        "basis": basis,
        "fitted_on_this_model": timed.fitted_on_this,
        "is_evidence": not timed.fitted_on_this,
        "unfitted_s": timed.unfitted_s,
        "factor": fitted_factor(timed.duration.value, timed) if measured else board.timing.factor,
        "cycles": math.fsum(layer.cycles for layer in timed.layers),
        "classes_counted": timed.mix_counted,
        "clock_hz": board.core.clock_hz,
        "cpi": dict(board.timing.cpi),
        "flash_line_bytes": board.timing.flash_line_bytes,
        "wait_states": board.timing.wait_states,
    }


def built_of(firmware: Firmware, execution: Execution) -> dict[str, Any]:
    """Return what was built and how to run it again by hand."""
    return {
        "compiler": firmware.compiler,
        "flags": list(firmware.flags),
        "firmware_sha256": firmware.sha256,
        "command": " ".join(execution.command),
        "command_note": "In a folder with firmware.elf and input.bin. A line 'inference SET INDEX "
        "TICKS' is one inference; instructions = ticks × 10⁹ / (timer_hz × 2^shift).",
        "classes": _classes(execution.layers),
        "n_inferences": execution.n_inferences,
        "overhead_instructions": execution.overhead,
    }


def measured_of(bench: Firmware | None, execution: Execution) -> dict[str, Any] | None:
    """Return what ran on the real board, None if none did."""
    if bench is None:
        return None
    return {
        "image": "bench.elf",
        "image_sha256": bench.sha256,
        "flags": list(bench.flags),
        "seconds": list(execution.seconds),
    }


def facts_of(board: Board) -> Mapping[str, Any]:
    """Return the board's facts with their sources."""
    return asdict(board)


def _classes(layers: Iterable[LayerCount]) -> dict[str, int]:
    """Executed instructions by class, over all layers; empty where they were not counted."""
    total: Counter[str] = Counter()
    for layer in layers:
        total.update(layer.classes)
    return dict(sorted(total.items()))
