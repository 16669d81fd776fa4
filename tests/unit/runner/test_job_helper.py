"""``trainshed_job``: inside a job and outside of one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import trainshed_job as job


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("output", "checkpoints", "job"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TRAINSHED_JOB_ID", "job_1")
    monkeypatch.setenv("TRAINSHED_OUTPUT_DIR", str(tmp_path / "output"))
    monkeypatch.setenv("TRAINSHED_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    return tmp_path


def test_log_appends_numbers_only(inside: Path) -> None:
    job.log(step=3, loss=0.5, nan=float("nan"), text="x", flag=True)
    job.log(loss=1)
    job.log(step="x", loss=1)  # type: ignore[arg-type]
    lines = [json.loads(x) for x in (inside / "job/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, None]
    assert set(lines[0]["values"]) == {"loss", "nan"}


def test_log_is_quick(inside: Path) -> None:
    job.log(step=0, loss=0.0)
    times = []
    for step in range(500):
        began = time.perf_counter()
        job.log(step=step, loss=0.5)
        times.append(time.perf_counter() - began)
    print(f"median {sorted(times)[250] * 1e6:.0f} µs")


def test_flags(inside: Path) -> None:
    assert not job.should_stop()
    assert not job.should_checkpoint()
    (inside / "job/stop").write_text("pause")
    (inside / "job/checkpoint").touch()
    assert job.should_stop()
    assert job.should_checkpoint()
    assert not job.should_checkpoint(), "once a request"


def test_checkpoints_are_whole(inside: Path) -> None:
    job.save_checkpoint("step-1", lambda path: path.write_text("one"))
    with pytest.raises(RuntimeError):
        job.save_checkpoint("step-2", fails)
    assert [p.name for p in (inside / "checkpoints").iterdir()] == ["step-1"]
    for text in ("a", "b"):
        job.save_checkpoint("step-3", lambda path, text=text: fill(path, text), keep=2)  # type: ignore[misc]
    assert (inside / "checkpoints/step-3/w").read_text() == "b"
    assert sorted(p.name for p in (inside / "checkpoints").iterdir()) == ["step-1", "step-3"]
    with pytest.raises(ValueError, match="plain"):
        job.save_checkpoint("../x", lambda path: None)


def fails(path: Path) -> None:
    path.write_text("half")
    raise RuntimeError


def fill(path: Path, text: str) -> None:
    path.mkdir()
    (path / "w").write_text(text)


def test_outside_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TRAINSHED_JOB_ID", "TRAINSHED_OUTPUT_DIR", "TRAINSHED_RESUME_FROM"):
        monkeypatch.delenv(name, raising=False)
    job.log(step=1, loss=1.0)
    assert not job.should_stop()
    assert not job.should_checkpoint()
    assert job.resume_from() is None
    assert job.output_dir().is_dir()
