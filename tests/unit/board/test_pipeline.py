"""A model and a board in, files out: real compiler, real emulator, real reference."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas
import pytest
from tests.unit.board.hand_made import MISSING
from tests.unit.board.make_model import Maker, small_cnn
from tests.unit.board.test_reports import walk

from trainshed.domain.board import Board
from trainshed.workloads.board import facts
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.run import pipeline
from trainshed.workloads.board.run.outcome import RunFailed
from trainshed.workloads.board.run.pipeline import STAGES, evaluate
from trainshed.workloads.board.spec import BoardSpec
from trainshed.workloads.board.target import qemu
from trainshed.workloads.board.target.protocol import Execution, Firmware, TargetFailed, TooLong
from trainshed.workloads.board.target.qemu import Emulator

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

SHARED = Path(__file__).parents[4] / "shared" / "data" / "mlperf_tiny"
SOAK = os.environ.get("TRAINSHED_SOAK") == "1"
FILES = {
    "ram.json", "rom.json", "layers.json", "report.json", "ppk2_samples.csv", "ppk2_summary.csv",
    "firmware.elf", "input.bin", "output.bin", "model.tflite", "model.c", "sources.zip",
}  # fmt: skip


@cache
def small() -> bytes:
    return small_cnn()


def run(folder: Path, model: bytes, board: str = "nrf5340dk", **request: Any) -> dict[str, Any]:
    """Evaluate, check what holds for every run, and return the report."""
    result = evaluate(BoardSpec(board, **request), model, folder, Emulator())
    assert {path.name for path in folder.iterdir()} >= FILES
    report: dict[str, Any] = load(folder / "report.json")
    assert report["result"] == dict(result)
    check_trees(folder, report)
    check_layers(folder, report)
    check_power(folder, report)
    assert (folder / "model.tflite").read_bytes() == model
    return report


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def check_trees(folder: Path, report: dict[str, Any]) -> None:
    for name, total in (("ram.json", "ram_usage"), ("rom.json", "rom_usage")):
        tree = load(folder / name)
        assert tree["total_size"] == tree["symbols"]["size"] == report["result"][total]
        walk(tree["symbols"])


def check_layers(folder: Path, report: dict[str, Any]) -> None:
    found = load(folder / "layers.json")
    parts = [*found["layers"], found["overhead"]]
    assert sum(x["instructions"] for x in parts) == found["total"]["instructions"]
    assert math.fsum(x["time_s"] for x in parts) == pytest.approx(found["total"]["time_s"])
    assert math.fsum(x["share"] for x in parts) == pytest.approx(1)
    assert found["total"]["instructions"] == report["figures"]["instructions"]["value"]
    assert found["total"]["time_s"] == report["result"]["duration_avg_s"]
    for layer in found["layers"]:
        assert sum(layer["classes"].values()) == layer["instructions"]
    rom = walk(load(folder / "rom.json")["symbols"])
    for layer in found["layers"]:
        if layer["weight_bytes"]:
            assert rom[f"root/model/weights/{layer['symbol']}"] == layer["weight_bytes"]


def check_power(folder: Path, report: dict[str, Any]) -> None:
    result, volts = report["result"], report["board"]["power"]["voltage_mv"] / 1000
    samples = pandas.read_csv(folder / "ppk2_samples.csv")
    mean = samples["current_uA"].mean()
    assert mean * volts == pytest.approx(result["avg_power_uW"], rel=0.01)
    assert samples["time_ms"].max() == pytest.approx(result["duration_avg_s"] * 1000, rel=0.01)
    energy = mean * volts * samples["time_ms"].max() / 1000
    assert energy == pytest.approx(result["avg_energy_uJ"], rel=0.02)
    assert list(samples["segment_id"].unique()) == list(range(report["build"]["n_inferences"]))


def test_a_small_model(tmp_path: Path) -> None:
    told: list[str] = []
    evaluate(
        BoardSpec("nrf5340dk"), small(), tmp_path / "a", Emulator(),
        progress=lambda stage, seconds: told.append(stage),
    )  # fmt: skip
    assert told == [stage for stage in STAGES if stage not in ("quantize", "measure")]
    report = run(tmp_path / "b", small())
    figures = report["figures"]
    assert {figures[x]["source"] for x in ("duration_avg_s", "avg_power_uW")} == {"estimated"}
    assert figures["duration_avg_s"]["band"] == 0.15
    assert figures["avg_energy_uJ"]["band"] > figures["duration_avg_s"]["band"]
    assert figures["instructions"]["source"] == "emulated"
    assert figures["instructions"]["band"] == 0
    assert report["timing"]["status"] == "calibrated"
    assert report["timing"]["is_evidence"]
    assert report["comparison"]["tolerance"] == 0
    assert report["comparison"]["n_outputs"] > 1
    assert report["comparison"]["warnings"] == []
    for name in sorted(FILES):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    with zipfile.ZipFile(tmp_path / "a" / "sources.zip") as archive:
        assert archive.read("model.c") == (tmp_path / "a" / "model.c").read_bytes()


def test_the_files_run_by_hand(tmp_path: Path) -> None:
    report = run(tmp_path, small())
    expected = (tmp_path / "output.bin").read_bytes()
    (tmp_path / "output.bin").unlink()
    done = subprocess.run(
        report["build"]["command"].split(), cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert (tmp_path / "output.bin").read_bytes() == expected
    line = next(x for x in done.stderr.splitlines() if x.startswith("inference 0 0 "))
    instructions = report["figures"]["instructions"]["value"]
    assert round(int(line.split()[-1]) * 50 / 1024) == instructions


def test_boards_differ_for_the_right_reasons(tmp_path: Path) -> None:
    fast, slow = (run(tmp_path / x, small(), x) for x in ("frdm_k64f", "nrf52840dk"))
    # The same core: the same instructions; the clocks and the flash differ.
    assert fast["figures"]["instructions"] == slow["figures"]["instructions"]
    assert fast["comparison"] == slow["comparison"]
    ratio = slow["result"]["duration_avg_s"] / fast["result"]["duration_avg_s"]
    assert 0.7 * 120 / 64 < ratio < 120 / 64 * 1.01
    plain = run(tmp_path / "m0", small(), "nucleo_g0b1re")
    assert plain["figures"]["instructions"]["value"] > slow["figures"]["instructions"]["value"]
    assert plain["comparison"] == slow["comparison"]


def test_one_flipped_weight_changes_the_output(tmp_path: Path) -> None:
    before = run(tmp_path / "a", small())
    (weights,) = [t.data for t in read(small()).tensors if t.shape == (4, 8) and t.data]
    at = small().index(weights)
    changed = bytearray(small())
    changed[at] ^= 0x7F
    after = run(tmp_path / "b", bytes(changed))
    assert before["comparison"]["input_sha256"] == after["comparison"]["input_sha256"]
    assert before["comparison"]["output_sha256"] != after["comparison"]["output_sha256"]


class Wrong(Emulator):
    """An emulator with a broken bit in the last output."""

    def run(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path,
    ) -> Execution:  # fmt: skip
        found = super().run(firmware, board, inputs, n_inferences, folder)
        *usual, (last, *rest) = found.outputs
        broken = bytes([last[0] ^ 1, *last[1:]])
        return replace(found, outputs=(*usual, (broken, *rest)))

    def layer_outputs(
        self, firmware: Firmware, board: Board, inputs: Sequence[bytes], folder: Path
    ) -> bytes:
        data = bytearray(super().layer_outputs(firmware, board, inputs, folder))
        data[6 * 5 * 8] ^= 1  # the first byte of the second layer's
        return bytes(data)


def refused(
    model: bytes, folder: Path, target: Emulator | None = None, **request: Any
) -> RunFailed:
    with pytest.raises(RunFailed) as found:
        evaluate(
            BoardSpec(**{"board": "nrf5340dk", **request}), model, folder, target or Emulator()
        )
    assert not list(folder.glob("*.json"))
    return found.value


def test_a_mismatch_names_the_first_layer(tmp_path: Path) -> None:
    error = refused(small(), tmp_path, Wrong())
    assert error.code == "mismatch"
    assert "Output 0 differs from TensorFlow Lite Micro on random input 2" in str(error)
    assert "layer_01_depthwise_conv_2d (operator 1)" in str(error)


def test_a_message_is_one_line_that_a_terminal_may_show() -> None:
    error = RunFailed("quantization_failed", "It cannot: tensor a\n\x1b[2J\u202e.")
    assert error.outcome.message == "It cannot: tensor a  [2J ."


def test_whose_fault_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(error: RunFailed) -> tuple[str, str]:
        assert error.outcome.fault is not None
        return error.code, error.outcome.fault.value

    assert fault(refused(b"no model", tmp_path)) == ("invalid_model", "model")
    assert fault(refused(small(), tmp_path, board="none")) == ("invalid_request", "model")
    m = Maker()
    x, y = m.tensor((1, 4), scale=0.1), m.tensor((1, 4), scale=0.1)
    m.operator("SVDF", [x], [y])
    assert fault(refused(m.pack([x], [y]), tmp_path)) == ("unsupported", "model")
    board = boards()["nrf5340dk"]
    # Too little even for the weights; enough as far as the check knows, but not for the linker.
    sizes = {2048: ("too_large", "model"), 4096: ("too_large_linked", "platform")}
    for flash, expected in sizes.items():
        tiny = replace(board, memory=replace(board.memory, flash_bytes=flash))
        monkeypatch.setattr(pipeline, "boards", lambda tiny=tiny: {"nrf5340dk": tiny})
        error = refused(small(), tmp_path)
        assert fault(error) == expected
        assert str(flash) in str(error) or f"{flash / 1024:.1f} KB" in str(error)
    monkeypatch.undo()
    monkeypatch.setattr(qemu, "EMULATOR", "no-such-emulator")
    assert fault(refused(small(), tmp_path)) == ("target_failed", "platform")
    monkeypatch.undo()

    failures = {
        TargetFailed("Two emulated runs disagree."): ("target_failed", "platform"),
        TooLong("It takes too many."): ("too_long", "model"),
    }
    for failure, expected in failures.items():

        def unsteady(*args: Any, failure: Exception = failure, **kwargs: Any) -> Execution:
            raise failure

        monkeypatch.setattr(Emulator, "run", unsteady)
        assert fault(refused(small(), tmp_path)) == expected


@pytest.mark.parametrize(
    ("model", "params", "code", "named"),
    [
        (b"no model", {"board": "nrf5340dk"}, 10, "invalid_model"),
        pytest.param(bytes(2**24 + 1), {"board": "nrf5340dk"}, 10, "larger than 16", id="large"),
        (None, {"board": "nrf5340dk"}, 10, "no file model.tflite"),
        (b"", {"board": "nrf5340dk", "speed": 1}, 10, "no parameter 'speed'"),
        (b"small", {"board": "nrf5340dk", "n_inferences": 2}, 0, "done: "),
    ],
)
def test_the_command(
    tmp_path: Path, model: bytes | None, params: dict[str, Any], code: int, named: str
) -> None:
    if model is not None:
        (tmp_path / "model.tflite").write_bytes(small() if model == b"small" else model)
    output = tmp_path / "output"
    done = subprocess.run(
        [sys.executable, "-m", "trainshed.workloads.board.run", json.dumps(params)],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "TRAINSHED_OUTPUT_DIR": str(output),
             "TRAINSHED_BOARD_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert named in done.stdout.splitlines()[-1]
    outcome = load(output / "outcome.json")
    assert (outcome["fault"] is None) == (code == 0)
    assert (outcome["result"] is not None) == (code == 0)
    if code == 0:
        assert list((tmp_path / "cache").glob("*.elf"))
        assert list((tmp_path / "cache").glob("counter-*.so"))


def shared_models() -> list[tuple[str, str]]:
    """The models of the MLPerf Tiny benchmark, each on one board; all on all where asked."""
    few = [("ad_int8", "disco_f746ng"), ("ic_int8", "nrf52840dk")]
    names = ["ad_int8", "ic_float32", "ic_int8", "kws_int8"]
    return [(m, b) for m in names for b in sorted(boards())] if SOAK else few


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no models in {SHARED}")
@pytest.mark.parametrize(("model", "board"), shared_models())
def test_the_benchmark_models(tmp_path: Path, model: str, board: str) -> None:
    try:
        report = run(tmp_path, (SHARED / f"{model}.tflite").read_bytes(), board)
    except RunFailed as error:
        assert error.code == "too_large"  # noqa: PT017 - the large model on the small board
        return
    kws = model == "kws_int8"
    assert report["timing"]["fitted_on_this_model"] == (kws and bool(boards()[board].timing.engine))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no models in {SHARED}")
@pytest.mark.parametrize(
    "name", sorted(x for x in boards() if boards()[x].timing.engine) if SOAK else ["nrf5340dk"]
)
def test_keyword_spotting_is_within_the_band_of_its_reference_rows(
    tmp_path: Path, name: str
) -> None:
    """No evidence for the model of time, as the factor was fitted to them; it must still hold."""
    model = (SHARED / "kws_int8.tflite").read_bytes()
    report = run(tmp_path, model, name)
    text = (Path(facts.__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["timing"]["calibration"]["rows"]
    figure = report["figures"]["duration_avg_s"]
    for row in rows:
        published_s = float(row.split()[0]) / 1000
        assert abs(figure["value"] - published_s) <= figure["band"] * published_s
    assert not report["timing"]["is_evidence"]
