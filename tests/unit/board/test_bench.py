"""Boards on a bench: the real image, the real libraries, hardware that is played by the machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.support.bench import FakePpk2, FakeProbe, Script, bench_board, standing
from tests.unit.board.batch import MISSING
from tests.unit.board.make_model import small_cnn
from tests.unit.board.test_pipeline import check_layers, check_power, check_trees, load

from trainshed.bootstrap import bench as command
from trainshed.bootstrap.boards import LocalBoards
from trainshed.workloads.board.facts import boards, calibration
from trainshed.workloads.board.facts.calibration import Calibration
from trainshed.workloads.board.run import pipeline
from trainshed.workloads.board.run.outcome import RunFailed
from trainshed.workloads.board.run.pipeline import evaluate
from trainshed.workloads.board.spec import BoardSpec
from trainshed.workloads.board.target.bench import Bench
from trainshed.workloads.board.target.ppk2 import STEP_S, Ppk2
from trainshed.workloads.board.target.protocol import TargetFailed
from trainshed.workloads.board.target.pyocd_probe import PyOcd
from trainshed.workloads.board.target.qemu import Emulator
from trainshed.workloads.board.target.windows import Recording, inferences, seconds_of, trace_of

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

NAME = "nrf52840dk"
N = 4
#: Four inferences of 3 ms, and one on each further input set.
WINDOWS = [3000] * N + [3100, 2900]
TODAY = "2026-03-01"
BENCHES = {name: bench_board(name) for name in ("nrf52840dk", "nrf5340dk")}


@pytest.fixture(autouse=True)
def _bench_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "boards", lambda: {**boards(), **BENCHES})


def measure(
    folder: Path, meter: FakePpk2, probe: FakeProbe, name: str = NAME, **request: Any
) -> dict[str, float]:
    bench = Bench(PyOcd(connect=probe.connect, loader=probe.loader), Ppk2(meter.port), timeout_s=60)
    spec = BoardSpec(name, n_inferences=N, **request)
    return dict(
        evaluate(spec, small_cnn(), folder, Emulator(), bench=bench, today=TODAY, cache=None)
    )


def test_a_measured_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with standing(tmp_path / "board", Script(WINDOWS)) as (meter, probe):
        result = measure(out, meter, probe)
        read, flash = probe.options[-1], probe.options[0]
    assert result["duration_avg_s"] == pytest.approx(0.003, rel=1e-6)
    assert result["avg_power_uW"] == pytest.approx(5000 * 3.0, rel=0.01)
    assert result["avg_energy_uJ"] == pytest.approx(0.003 * 5000 * 3.0, rel=0.01)
    report = load(out / "report.json")
    figures = report["figures"]
    for name in ("duration_avg_s", "avg_power_uW", "avg_energy_uJ"):
        assert figures[name]["source"] == "measured"
        assert 0 < figures[name]["band"] < 0.2
    assert figures["instructions"]["source"] == "emulated"
    assert figures["instructions"]["value"] > 1000
    assert report["timing"]["status"] == "measured"
    assert report["bench"]["seconds"] == pytest.approx([0.003] * N)
    check_trees(out, report)
    check_layers(out, report)
    check_power(out, report)
    lines = (out / "ppk2_samples.csv").read_text().splitlines()[1:]
    assert {line.rsplit(",", 1)[1] for line in lines} == {"measured"}
    assert (out / "bench.elf").stat().st_size > 1000
    # nobody is attached while it is measured, and nothing is erased to get in
    assert flash["connect_mode"] == "under-reset"
    assert read["connect_mode"] == "attach"
    assert not any(options["auto_unlock"] for options in probe.options)
    assert {options["target_override"] for options in probe.options} == {"nrf52840"}
    # the meter was told the board's voltage, and to be in the supply line
    assert (0x0D, *ppk2_voltage(3000)) in meter.commands
    assert (0x11, 1) in meter.commands


def test_the_other_board(tmp_path: Path) -> None:
    machine = BENCHES["nrf5340dk"].machine
    with standing(tmp_path / "board", Script(WINDOWS), machine=machine) as (meter, probe):
        result = measure(tmp_path / "out", meter, probe, "nrf5340dk")
        assert {options["target_override"] for options in probe.options} == {"nrf5340_xxaa"}
    assert result["duration_avg_s"] == pytest.approx(0.003, rel=1e-6)


def ppk2_voltage(mv: int) -> tuple[int, int]:
    return 3 + (mv - 768) // 256, (mv - 768) % 256


def test_a_measured_run_calibrates_the_board(tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    with standing(tmp_path / "board", Script(WINDOWS)) as (meter, probe):
        measure(out, meter, probe)
    found = calibration.read(out, calibration.MEASURED)
    assert found is not None
    assert (found.board, found.date, found.measured_s) == (NAME, TODAY, pytest.approx(0.003))
    calibration.write(kept, found)
    later = evaluate(
        BoardSpec(NAME, measured=found.to_dict()), small_cnn(), tmp_path / "later", Emulator()
    )
    assert later["duration_avg_s"] == pytest.approx(0.003, rel=1e-6)
    report = load(tmp_path / "later" / "report.json")
    assert report["figures"]["duration_avg_s"]["source"] == "estimated"
    assert report["figures"]["duration_avg_s"]["band"] == calibration.BAND
    assert report["timing"]["fitted_on_this_model"]
    assert TODAY in report["timing"]["basis"]
    known = calibration.read(kept, NAME)
    assert known == found
    assert TODAY in calibration.apply(boards()[NAME], known).notes[-1]
    other = replace(found, version="0")
    assert calibration.apply(boards()[NAME], other) == boards()[NAME]


def failure(folder: Path, script: Script, **probe: Any) -> RunFailed:
    with (
        standing(folder / "board", script, **probe) as (meter, board),
        pytest.raises(RunFailed) as info,
    ):
        measure(folder / "out", meter, board)
    assert not (folder / "out").exists()
    return info.value


def test_a_wrong_output_is_a_mismatch(tmp_path: Path) -> None:
    def flip(data: bytes, mailbox: bool) -> bytes:
        return data if mailbox else bytes([data[0] ^ 1]) + data[1:]

    error = failure(tmp_path, Script(WINDOWS), change=flip)
    assert error.code == "mismatch"
    assert "on the real board, where the emulated one agreed" in str(error)


def test_another_program_on_the_board_is_noticed(tmp_path: Path) -> None:
    def other(data: bytes, mailbox: bool) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if mailbox else data

    error = failure(tmp_path, Script(WINDOWS), change=other)
    assert error.code == "target_failed"
    assert "another program is on it" in str(error)


def test_a_meter_that_is_pulled_out(tmp_path: Path) -> None:
    error = failure(tmp_path, Script(WINDOWS, unplug_at=11_000))
    assert error.code == "target_failed"
    assert "Plug it in again" in str(error)


def test_lost_samples_are_no_times(tmp_path: Path) -> None:
    error = failure(tmp_path, Script(WINDOWS, lose_at=11_000))
    assert "Samples of the PPK2 were lost" in str(error)


def test_a_board_that_never_raises_its_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainshed.workloads.board.target.ppk2.FIRST_S", 0.6)
    error = failure(tmp_path, Script([]))
    assert "did not raise its pin" in str(error)
    assert "D0" in str(error)


def test_inferences_that_differ_were_disturbed(tmp_path: Path) -> None:
    error = failure(tmp_path, Script([3000, 3000, 3300, 3000, 3000, 3000]))
    assert "took from 3.00 to 3.30 ms" in str(error)


def test_a_board_at_another_speed_is_noticed(tmp_path: Path) -> None:
    error = failure(tmp_path, Script([60] * N + [60, 60]))
    assert error.code == "target_failed"
    assert "0.060 ms" in str(error)
    assert "Check the clock" in str(error)


def test_no_probe(tmp_path: Path) -> None:
    with standing(tmp_path / "board", Script(WINDOWS)) as (meter, probe):
        probe.absent = True
        with pytest.raises(RunFailed, match="No debug probe is plugged in") as info:
            measure(tmp_path / "out", meter, probe)
        assert info.value.code == "target_failed"
        probe.absent, probe.refuse = False, RuntimeError("no ACK")
        with pytest.raises(RunFailed, match=r"RuntimeError: no ACK\. Check its cable"):
            measure(tmp_path / "out", meter, probe)


def test_the_real_pyocd_without_a_probe() -> None:
    wiring = boards()["nrf5340dk"].wiring
    assert wiring is not None
    with pytest.raises(TargetFailed, match="No debug probe with the id nothing-like-it"):
        PyOcd("nothing-like-it").read(wiring, [(0, 4)])


@pytest.mark.parametrize("answers", ["no meter", "", "\xff\xff"])
def test_something_else_at_the_port(answers: str) -> None:
    meter = FakePpk2(Script([]), answers=answers)
    try:
        with pytest.raises(TargetFailed, match="does not answer"):
            Ppk2(meter.port).power(3000)
    finally:
        meter.close()


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TargetFailed, match="cannot be opened"):
        Ppk2(str(tmp_path / "ttyACM9")).power(3000)


@pytest.mark.parametrize(
    ("ports", "said"),
    [([], r"No PPK2 found\. Plug one in"), (["a", "b"], r"2 PPK2 found \(a, b\)\. Name the port")],
)
def test_not_one_meter_is_plugged_in(
    monkeypatch: pytest.MonkeyPatch, ports: list[str], said: str
) -> None:
    from ppk2_api.ppk2_api import PPK2_API

    monkeypatch.setattr(PPK2_API, "list_devices", staticmethod(lambda: ports))
    with pytest.raises(TargetFailed, match=said):
        Ppk2().power(3000)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ppk2_api.ppk2_api", "pyocd.core.helpers"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    wiring = boards()[NAME].wiring
    assert wiring is not None
    with pytest.raises(TargetFailed, match=r"pip install 'trainshed\[probe\]'"):
        Ppk2("/dev/null").power(3000)
    with pytest.raises(TargetFailed, match=r"pip install 'trainshed\[probe\]'"):
        PyOcd().read(wiring, [(0, 4)])


def test_long_ones_are_measured_fewer_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BENCH_S", 1e-9)
    out = tmp_path / "out"
    with standing(tmp_path / "board", Script([3000, 3100, 2900])) as (meter, probe):
        result = measure(out, meter, probe)
    assert result["duration_avg_s"] == pytest.approx(0.003, rel=1e-6)
    report = load(out / "report.json")
    assert report["bench"]["seconds"] == pytest.approx([0.003])
    assert report["figures"]["instructions"]["value"] > 1000
    check_power(out, report)


def test_a_board_without_wiring_is_told(tmp_path: Path) -> None:
    bench = Bench(PyOcd(), Ppk2())
    with pytest.raises(RunFailed, match=r"no section \[wiring\]") as info:
        evaluate(BoardSpec("frdm_k64f"), small_cnn(), tmp_path, Emulator(), bench=bench)
    assert info.value.code == "target_failed"


def test_windows_begin_after_the_long_low() -> None:
    step = STEP_S
    pin = np.concatenate([
        np.tile([True, False], 200), np.zeros(8000, bool), np.ones(300, bool),
        np.zeros(400, bool), np.ones(301, bool), np.zeros(50, bool), np.ones(10, bool),
    ])  # fmt: skip
    found = inferences(pin, step)
    assert [b - a for a, b in found] == [300, 301]  # the last one has not ended
    assert seconds_of(found, step) == pytest.approx((0.003, 0.00301))
    assert inferences(np.ones(100, bool), step) == []
    assert inferences(np.zeros(0, bool), step) == []
    assert inferences(np.concatenate([np.zeros(9000, bool), [True]]), step) == []


def test_a_long_trace_is_averaged_not_thinned() -> None:
    currents = np.arange(1_000_000, dtype=float)
    pin = np.ones(1_000_000, bool)
    trace = trace_of(Recording(STEP_S, currents, pin), [(0, 900_000)])
    (part,) = trace.currents_ua
    assert len(part) <= 200_000
    assert trace.step_ms == pytest.approx(0.05)
    assert part[0] == pytest.approx(2.0)
    assert sum(part) / len(part) == pytest.approx(449_999.5)


def test_a_calibration_that_is_none(tmp_path: Path) -> None:
    good = Calibration(NAME, 1.2, "ab", TODAY, "1", 0.003)
    path = calibration.write(tmp_path, good)
    for change in ({"factor": 99}, {"factor": "1"}, {"date": 3}, {"more": 1}, {"factor": True}):
        path.write_text(json.dumps(good.to_dict() | change))
        with pytest.raises(ValueError, match=NAME):
            calibration.read(tmp_path, NAME)
    path.write_text("[")
    with pytest.raises(ValueError, match=NAME):
        calibration.read(tmp_path, NAME)
    assert calibration.read(tmp_path, "other") is None
    with pytest.raises(ValueError, match="keys"):
        BoardSpec.from_params({"board": NAME, "measured": {}})


def test_only_flash_is_written(tmp_path: Path) -> None:
    from trainshed.workloads.board.target.bench import _must_fit

    board = bench_board(NAME)
    assert board.wiring is not None
    end = board.memory.flash_bytes
    _must_fit([(end - 4, bytes(4))], board, board.wiring)
    for address in (end - 3, 0x1000_1000):
        with pytest.raises(TargetFailed, match="need flash up to"):
            _must_fit([(address, bytes(4))], board, board.wiring)


def test_the_command_tells_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = tmp_path / "small.tflite", tmp_path / "data"
    model.write_bytes(small_cnn())
    wanted = {"board": NAME, "quantize": False, "n_inferences": N}
    with standing(tmp_path / "board", Script(WINDOWS)) as (meter, probe):
        bench = Bench(PyOcd(connect=probe.connect, loader=probe.loader), Ppk2(meter.port))
        assert command.run(model, wanted, bench, tmp_path / "out", data, None) == 0
    told = capsys.readouterr().out
    assert "Duration: 3.000 ms (measured)" in told
    assert "Power:    15.0" in told
    known = calibration.read(data / "boards", NAME)
    assert known is not None
    assert known.measured_s == pytest.approx(0.003)
    assert LocalBoards(data / "boards").facts()[NAME].timing.factor == known.factor


@pytest.mark.parametrize(
    ("board", "words"),
    [(NAME, "cannot be opened"), ("frdm_k64f", "no section"), ("x", "There is no board 'x'")],
)
def test_the_command_says_what_to_do(tmp_path: Path, board: str, words: str) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(small_cnn())
    line = [str(model), "--board", board, "--ppk2", str(tmp_path / "ttyACM9"),
            "--out", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(command.measure, line)
    assert done.exit_code == 1
    assert words in done.output
    assert not (tmp_path / "out").exists()
