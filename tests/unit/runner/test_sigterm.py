"""A script that asks ``should_stop()`` outlives SIGTERM to save; one that never asks does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POLLS = """
import time, trainshed_job as job
print("up", flush=True)
while not job.should_stop(): time.sleep(0.01)
print("saved", flush=True)
"""
NEVER = "import time, trainshed_job\nprint('up', flush=True)\ntime.sleep(60)\n"
OWN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
import trainshed_job
print("up", flush=True)
time.sleep(60)
"""


def ended(folder: Path, code: str, in_job: bool = True) -> tuple[int, str]:
    (folder / "job").mkdir()
    (folder / "output").mkdir()
    env = {**os.environ, "TRAINSHED_OUTPUT_DIR": str(folder / "output")}
    if in_job:
        env["TRAINSHED_JOB_ID"] = "job_x"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "up\n"
        time.sleep(0.1)
        (folder / "job" / "stop").touch()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        return process.wait(20), rest


def test_one_that_asks_saves_and_leaves(tmp_path: Path) -> None:
    assert ended(tmp_path, POLLS) == (0, "saved\n")


def test_one_that_never_asks_ends_at_once(tmp_path: Path) -> None:
    assert ended(tmp_path, NEVER) == (-signal.SIGTERM, "")


def test_a_handler_of_the_scripts_own_stays(tmp_path: Path) -> None:
    assert ended(tmp_path, OWN) == (7, "")


def test_outside_a_job_nothing_changes(tmp_path: Path) -> None:
    assert ended(tmp_path, POLLS, in_job=False) == (-signal.SIGTERM, "")
