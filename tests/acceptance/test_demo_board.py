"""``trainshed demo-board`` as a user runs it: a real model, three emulated boards, figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainshed.bootstrap.boards import LocalBoards

TRAINSHED = str(Path(sys.executable).parent / "trainshed")


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(LocalBoards().missing()), reason=LocalBoards().missing())
def test_three_boards_and_five_figures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [TRAINSHED, "demo-board", "--out", str(out), "--json"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["accuracy"] > 0.93
    assert set(result["boards"]) == {"nrf5340dk", "nucleo_l4r5zi", "rpi_pico"}
    times = {board: figures["Time (ms)"] for board, figures in result["boards"].items()}
    # A core without a multiplying DSP extension at much the same clock is slower.
    assert times["rpi_pico"] > times["nrf5340dk"] > 0
    assert [Path(path).stem for path in result["figures"]] == [
        "comparison", "power", "layers", "ram", "rom",
    ]  # fmt: skip
    for path in result["figures"]:
        assert "plotly" in Path(path).read_text()
    assert (out / "digits.tflite").read_bytes()[4:8] == b"TFL3"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [TRAINSHED, "demo-board", "--out", str(tmp_path / "out")],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "gcc-arm-none-eabi" in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
