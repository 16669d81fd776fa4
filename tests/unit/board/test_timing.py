"""Counts to seconds and joules: the formula, the bands, and what a figure says of itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.board.hand_made import program

from trainshed.domain.board import Board, Source
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.target.protocol import Execution, LayerCount
from trainshed.workloads.board.timing.estimate import (
    GENERIC_BAND_FACTOR,
    Timed,
    cycles_of,
    estimate,
    fitted_factor,
)

BOARD = boards()["nrf5340dk"]
COPY = LayerCount("layer_00_copy", 30, {"alu": 10, "ldr": 20})
SPIN = LayerCount("layer_01_spin", 100, {"alu": 60, "branch": 40})


def execution(*layers: LayerCount, overhead: int = 0) -> Execution:
    total = sum(layer.instructions for layer in layers) + overhead
    return Execution((), total, layers, overhead, 100, 10)


def timed(board: Board = BOARD, digest: str = "", overhead: int = 0) -> Timed:
    return estimate(program(), execution(COPY, SPIN, overhead=overhead), board, digest)


def test_the_formula() -> None:
    cpi, timing = BOARD.timing.cpi, BOARD.timing
    flash = 16 / timing.flash_line_bytes * timing.wait_states
    cycles = 10 * cpi["alu"] + 20 * cpi["ldr"] + flash + 60 * cpi["alu"] + 40 * cpi["branch"]
    found = timed()
    assert found.unfitted_s == pytest.approx(cycles / 128e6)
    assert found.duration.value == pytest.approx(cycles * timing.factor / 128e6)
    assert [x.flash_cycles for x in found.layers] == [flash, 0]


def test_layers_and_overhead_sum_to_the_duration() -> None:
    found = timed(overhead=50)
    total = math.fsum(layer.seconds for layer in found.layers) + found.overhead_s
    assert found.overhead_s > 0
    assert total == pytest.approx(found.duration.value, rel=1e-12)


def test_energy_is_power_times_time_with_its_own_band() -> None:
    found = timed()
    power = BOARD.power.voltage_mv / 1000 * BOARD.power.active_ua
    assert found.power.value == power
    assert found.energy.value == pytest.approx(power * found.duration.value)
    assert found.energy.band == pytest.approx(math.hypot(BOARD.power.band, BOARD.timing.band))
    assert {x.source for x in (found.duration, found.power, found.energy)} == {Source.ESTIMATED}


def test_a_fitted_board_is_calibrated_but_no_evidence_on_its_own_model() -> None:
    (digest,) = BOARD.timing.calibrated_on
    assert timed().duration.calibrated
    assert not timed().fitted_on_this
    assert timed(digest=digest).fitted_on_this
    assert not timed(boards()["frdm_k64f"]).duration.calibrated


def test_a_faster_clock_takes_less_and_draws_the_same() -> None:
    fast = replace(BOARD, core=replace(BOARD.core, clock_hz=2 * BOARD.core.clock_hz))
    assert timed(fast).duration.value == pytest.approx(timed().duration.value / 2)
    assert timed(fast).power == timed().power


def test_without_a_mix_the_band_is_wider() -> None:
    bare = execution(replace(COPY, classes={}), replace(SPIN, classes={}))
    found = estimate(program(), bare, BOARD)
    assert not found.mix_counted
    assert found.duration.band == BOARD.timing.band * GENERIC_BAND_FACTOR
    assert found.duration.value > 0


def test_a_measured_time_gives_the_factor_back() -> None:
    factor = fitted_factor(1.5 * timed().unfitted_s, timed())
    again = replace(BOARD, timing=replace(BOARD.timing, factor=factor))
    assert timed(again).duration.value == pytest.approx(1.5 * timed().unfitted_s)


def test_counts_of_another_program_are_refused() -> None:
    with pytest.raises(ValueError, match="layer_00_copy was counted as"):
        estimate(program(), execution(SPIN, COPY), BOARD)
    with pytest.raises(KeyError):
        cycles_of({"unknown": 1}, BOARD.timing.cpi)
