"""Exact instruction counts to estimated seconds, watts and joules, each with its band.

    cycles  = Σ instructions of a class × cycles per instruction of the class
              + streamed constant bytes / flash line × wait states
    seconds = factor × cycles / clock
    watts   = volts × active amperes, constant while it runs
    joules  = watts × seconds

The factor is fitted to published times of one model on that board (``timing.calibration`` of the
board's file), or is the class factor of the core. On the model it was fitted to, an estimate is no
evidence, and says so by ``calibrated``.

Where a real board ran, its time and power stand in place of these; the factor is then the one that
gives its time, which shares the time out among the layers and calibrates the board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from trainshed.domain.board import CLOCKS_BAND, CURRENT_BAND, Board, Figure, Source
from trainshed.workloads.board.compiler.program import Layer, Program
from trainshed.workloads.board.target.protocol import Execution, LayerCount

#: Cycles per instruction of a class where the mix was not counted: the mean of int8 networks.
GENERIC_CLASS = "alu"
GENERIC_CPI_FACTOR = 1.2
#: How much wider the band is then.
GENERIC_BAND_FACTOR = 1.5
#: The edges of a measured time are found to a sample of 10 µs each.
EDGES_S = 2e-5


@dataclass(frozen=True, slots=True)
class LayerTime:
    """``cycles`` as the model gives them, before the factor; ``seconds`` after it."""

    symbol: str
    cycles: float
    flash_cycles: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """The figures of one inference. ``duration`` in s, ``power`` in µW, ``energy`` in µJ.

    ``unfitted_s``: the time with a factor of 1. ``layers`` and ``overhead_s`` sum to the duration.
    ``fitted_on_this``: the factor was fitted to published times of this very model.
    """

    duration: Figure
    power: Figure
    energy: Figure
    current_ua: float
    unfitted_s: float
    layers: tuple[LayerTime, ...]
    overhead_s: float
    fitted_on_this: bool
    mix_counted: bool
    version: str


def estimate(program: Program, execution: Execution, board: Board, model_digest: str = "") -> Timed:
    """Return the figures of an execution; ``model_digest``: `shape_digest`."""
    estimated = _estimated(program, execution, board, model_digest)
    if not execution.seconds or execution.trace is None:
        return estimated
    current_ua = fmean(fmean(part) for part in execution.trace.currents_ua)
    return _measured(estimated, fmean(execution.seconds), current_ua, board)


def _estimated(program: Program, execution: Execution, board: Board, model_digest: str) -> Timed:
    times = tuple(
        _layer(layer, count, board)
        for layer, count in zip(program.layers, execution.layers, strict=True)
    )
    clock, factor = board.core.clock_hz, board.timing.factor
    overhead = execution.overhead * _generic_cpi(board)
    unfitted = (math.fsum(t.cycles for t in times) + overhead) / clock
    mix = all(count.classes for count in execution.layers)
    band = board.timing.band * (1.0 if mix else GENERIC_BAND_FACTOR)
    fitted = bool(board.timing.engine or board.timing.measured_on)
    duration = Figure(unfitted * factor, Source.ESTIMATED, band, calibrated=fitted)
    power = Figure(
        board.power.voltage_mv / 1000 * board.power.active_ua, Source.ESTIMATED, board.power.band
    )
    return Timed(
        duration=duration,
        power=power,
        energy=energy(power, duration),
        current_ua=board.power.active_ua,
        unfitted_s=unfitted,
        layers=times,
        overhead_s=overhead / clock * factor,
        fitted_on_this=model_digest in board.timing.calibrated_on,
        mix_counted=mix,
        version=board.timing.version,
    )


def _measured(estimated: Timed, seconds: float, current_ua: float, board: Board) -> Timed:
    """The figures of a real board; layers share its time as the model says they do."""
    scale = seconds / estimated.duration.value
    duration = Figure(seconds, Source.MEASURED, CLOCKS_BAND + EDGES_S / seconds)
    power = Figure(board.power.voltage_mv / 1000 * current_ua, Source.MEASURED, CURRENT_BAND)
    return replace(
        estimated,
        duration=duration,
        power=power,
        energy=energy(power, duration),
        current_ua=current_ua,
        layers=tuple(replace(x, seconds=x.seconds * scale) for x in estimated.layers),
        overhead_s=estimated.overhead_s * scale,
        fitted_on_this=False,
    )


def energy(power: Figure, duration: Figure) -> Figure:
    """Return power × time; independent errors add as squares."""
    return Figure(
        power.value * duration.value,
        max(power.source, duration.source, key=_doubt),
        math.hypot(power.band, duration.band),
        calibrated=power.calibrated and duration.calibrated,
    )


def fitted_factor(measured_s: float, timed: Timed) -> float:
    """Return the factor with which the estimate would have given ``measured_s``."""
    return measured_s / timed.unfitted_s


def cycles_of(classes: Mapping[str, int], cpi: Mapping[str, float]) -> float:
    """Return Σ count × cycles per instruction.

    Raises:
        KeyError: a class has no cycles per instruction.
    """
    return math.fsum(count * cpi[name] for name, count in classes.items())


def _layer(layer: Layer, count: LayerCount, board: Board) -> LayerTime:
    if layer.symbol != count.symbol:
        raise ValueError(f"{layer.symbol} was counted as {count.symbol}.")
    flash = layer.streamed_bytes / board.timing.flash_line_bytes * board.timing.wait_states
    if count.classes:
        executed = cycles_of(count.classes, board.timing.cpi)
    else:
        executed = count.instructions * _generic_cpi(board)
    cycles = executed + flash
    seconds = cycles * board.timing.factor / board.core.clock_hz
    return LayerTime(layer.symbol, cycles, flash, seconds)


def _generic_cpi(board: Board) -> float:
    return board.timing.cpi[GENERIC_CLASS] * GENERIC_CPI_FACTOR


def _doubt(source: Source) -> int:
    return (Source.MEASURED, Source.EMULATED, Source.ESTIMATED).index(source)
