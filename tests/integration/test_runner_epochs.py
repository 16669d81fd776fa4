"""Checkpoints by epochs with a real runner: kept while the process runs on, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.runner_shed import Shed, shed, wait_for
from tests.unit.runner.fake_server import Attempt

TRAIN = """
import os, sys, time
folder = os.environ["CHECKPOINT_DIR"]
for epoch in range(1, 7):
    with open(folder + "/.tmp-w", "w") as file: file.write(f"epoch {epoch}")
    os.rename(folder + "/.tmp-w", folder + "/weights")
    print(f"Epoch {epoch}/6, Loss: {1 / epoch}", flush=True)
    if epoch % 2 == 0:
        while not os.path.exists(f"go-{epoch}"): time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Shed]:
    with shed() as one:
        yield one


def kept(attempt: Attempt) -> list[str]:
    sets = [a for a in attempt.artifacts if a["kind"] == "checkpoint"]
    return [attempt.blobs[a["files"][0]["md5"]].decode() for a in sets]


def test_every_second_epoch_is_kept_while_it_runs(place: Shed) -> None:
    attempt = place.launch(["python", "-c", TRAIN], checkpoint_every_epochs=2)
    for n, epoch in enumerate((2, 4, 6), 1):
        wait_for(lambda n=n: len(kept(attempt)) == n, 60)
        assert attempt.finished is None
        assert kept(attempt)[-1] == f"epoch {epoch}"
        (place.folder(attempt) / "work" / f"go-{epoch}").touch()
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["exit_code"] == 0, attempt.text("stderr")
    assert kept(attempt) == ["epoch 2", "epoch 4", "epoch 6"]
    assert attempt.states == [True, False] * 3
    assert attempt.metric("epoch_total") == [(n, 6) for n in range(6)]
    calls = [c for c in attempt.calls if c in ("checkpointing", "artifacts", "finished")]
    assert calls == ["checkpointing", "artifacts", "checkpointing"] * 3 + ["finished"]


def test_one_that_reports_before_it_saves_is_waited_for(place: Shed) -> None:
    code = """
import os, time
print("Epoch 1/1", flush=True)
time.sleep(2)
open(os.environ["CHECKPOINT_DIR"] + "/w", "w").write("late")
while not os.path.exists("go"): time.sleep(0.01)
"""
    attempt = place.launch(["python", "-c", code], checkpoint_every_epochs=1)
    wait_for(lambda: kept(attempt) == ["late"], 60)
    assert attempt.finished is None
    (place.folder(attempt) / "work" / "go").touch()
    wait_for(lambda: attempt.finished)


def test_a_torn_file_is_never_kept(place: Shed) -> None:
    """What is rewritten all the time is left; the set before it stays the last."""
    code = """
import os, threading, time
folder = os.environ["CHECKPOINT_DIR"]
open(folder + "/w", "w").write("whole")
print("Epoch 1/2", flush=True)
while not os.path.exists("torn"): time.sleep(0.01)
with open(folder + "/w", "w") as file:
    print("Epoch 2/2", flush=True)
    while not os.path.exists("go"):
        file.write("torn"); file.flush(); time.sleep(0.02)
with open(folder + "/w", "w") as file: file.write("whole again")
"""
    attempt = place.launch(["python", "-c", code], checkpoint_every_epochs=1)
    wait_for(lambda: kept(attempt) == ["whole"], 60)
    work = place.folder(attempt) / "work"
    (work / "torn").touch()
    wait_for(lambda: len(attempt.metric("epoch")) == 2)
    with pytest.raises(AssertionError, match="did not happen"):
        wait_for(lambda: len(kept(attempt)) > 1, 4)
    (work / "go").touch()
    wait_for(lambda: attempt.finished)
    assert kept(attempt) == ["whole", "whole again"]


def test_none_are_kept_unless_asked_for(place: Shed) -> None:
    code = TRAIN.replace("if epoch % 2 == 0:", "if epoch == 6:\n        time.sleep(2)\n    if 0:")
    attempt: Any = place.run(["python", "-c", code])
    assert attempt.states == []
    assert kept(attempt) == ["epoch 6"]


@pytest.mark.alone
def test_fast_epochs_that_replace_their_files_are_kept(place: Shed) -> None:
    """The directory is never left alone for half a second, yet no file of it is ever torn."""
    code = """
import os, time
folder, epoch = os.environ["CHECKPOINT_DIR"], 0
while not os.path.exists("go"):
    epoch += 1
    for name in ("model", "optimizer"):
        with open(folder + "/.tmp-w", "w") as file: file.write(f"epoch {epoch}")
        os.rename(folder + "/.tmp-w", folder + "/" + name)
    print(f"Epoch {epoch}/99", flush=True)
    time.sleep(0.3)
"""
    attempt = place.launch(["python", "-c", code], checkpoint_every_epochs=1)
    wait_for(lambda: len(kept(attempt)) >= 4, 60)
    (place.folder(attempt) / "work" / "go").touch()
    wait_for(lambda: attempt.finished)
    sets = [a for a in attempt.artifacts if a["kind"] == "checkpoint"]
    for one in sets:
        assert [f["path"] for f in one["files"]] == ["model", "optimizer"]
        assert len({attempt.blobs[f["md5"]] for f in one["files"]}) == 1
