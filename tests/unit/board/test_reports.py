"""The files of a run: trees that sum, a trace that reproduces the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
from elftools.elf.elffile import ELFFile
from tests.unit.board.hand_made import MISSING, N, program

from trainshed.domain.board import Source
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.firmware.build import build
from trainshed.workloads.board.report.memory import memory_trees, weight_bytes
from trainshed.workloads.board.report.power import (
    MAX_ROWS,
    SAMPLES,
    SUMMARY,
    emulated_trace,
    grid_step_ms,
    write_power,
)

BOARD = boards()["nrf5340dk"]


def walk(node: dict[str, Any]) -> dict[str, int]:
    """Check that children sum to their parents; return identifier -> size."""
    children = node.get("children", [])
    found = {node["identifier"]: node["size"]}
    if children:
        assert sum(child["size"] for child in children) == node["size"], node["identifier"]
    for child in children:
        below = walk(child)
        assert not below.keys() & found.keys()
        found |= below
    return found


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
def test_the_trees_sum_to_the_sections_of_the_firmware(tmp_path: Path) -> None:
    firmware = build(program(), BOARD, tmp_path, None)
    ram, rom = memory_trees(firmware, program())
    with firmware.elf.open("rb") as file:
        sections = {s.name: s["sh_size"] for s in ELFFile(file).iter_sections()}
    assert ram["total_size"] == sum(sections[x] for x in (".data", ".bss", ".stack"))
    in_rom = sections[".text"] + sections[".data"] + sections.get(".ARM.exidx", 0)
    assert rom["total_size"] == in_rom
    in_ram, in_flash = walk(ram["symbols"]), walk(rom["symbols"])
    assert (ram["symbols"]["size"], rom["symbols"]["size"]) == (
        ram["total_size"],
        rom["total_size"],
    )
    assert in_ram["root/arena"] == 64
    assert in_ram["root/stack"] == sections[".stack"]
    assert in_flash["root/model/weights/layer_00_copy/layer_00_copy_w"] == N
    assert in_flash["root/model/layers/layer_01_spin"] > 0
    assert in_flash["root/startup/start.c/begin"] > 0
    assert in_flash["root/kernels/model.c/spin"] > 0
    assert in_flash["root/libc"] > 0
    assert weight_bytes(program(), rom) == {"layer_00_copy": N, "layer_01_spin": 0}
    # What nothing names is small.
    assert in_flash["root/(no symbol)"] < 0.1 * rom["total_size"]


@pytest.mark.parametrize("duration_s", [2e-6, 0.00037, 0.0021, 0.0763, 0.5777, 7.3, 400.0])
def test_the_trace_reproduces_the_figures(tmp_path: Path, duration_s: float) -> None:
    current, millivolts = 7800.0, 3000
    trace = emulated_trace(duration_s, current, 10)
    write_power(tmp_path, trace, [duration_s] * 10, millivolts, Source.ESTIMATED)
    samples = pandas.read_csv(tmp_path / SAMPLES)
    assert list(samples.columns) == ["segment_id", "time_ms", "current_uA", "source"]
    assert list(samples["segment_id"].unique()) == list(range(10))
    grids = {tuple(part["time_ms"]) for _, part in samples.groupby("segment_id")}
    assert len(grids) == 1
    (grid,) = grids
    assert grid[0] == 0
    assert len(set(grid)) == len(grid)
    assert max(grid) == pytest.approx(duration_s * 1000, rel=0.01)
    assert samples["current_uA"].mean() * millivolts / 1000 == pytest.approx(23400, rel=0.01)
    assert set(samples["source"]) == {"estimated"}
    assert len(samples) <= MAX_ROWS + 20
    if 0.001 < duration_s < 0.2:
        assert trace.step_ms == 0.01
    summary = pandas.read_csv(tmp_path / SUMMARY)
    assert list(summary["segment_id"]) == list(range(10))
    assert summary.columns[-1] == "source"
    for _, row in summary.iterrows():
        assert row["avg_power_uW"] == pytest.approx(row["avg_current_uA"] * millivolts / 1000)
        assert row["energy_uJ"] == pytest.approx(row["avg_power_uW"] * row["duration_ms"] / 1000)
        assert row["min_current_uA"] <= row["avg_current_uA"] <= row["max_current_uA"]
    assert summary["mean_energy_uJ"][0] == pytest.approx(summary["energy_uJ"].mean())
    assert summary["mean_duration_ms"][0] == pytest.approx(duration_s * 1000)


@pytest.mark.parametrize("duration_ms", [0.001, 0.3, 1.0, 76.3, 250.0, 251.0, 1e4, 1e6])
def test_the_step_is_short_enough_and_not_too_short(duration_ms: float) -> None:
    step = grid_step_ms(duration_ms, 10)
    assert duration_ms / step * 10 <= MAX_ROWS * 1.0001
    assert step / 2 <= 0.01 * duration_ms
