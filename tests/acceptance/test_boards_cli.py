"""``trainshed boards`` on a real server with the emulated board."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.server import running
from tests.unit.board.make_model import small_cnn

PROGRAMS = ("qemu-system-arm", "arm-none-eabi-gcc", "gcc")
absent = [name for name in PROGRAMS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")

Trainshed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def trainshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainshed]:
    folder = tmp_path_factory.mktemp("boards")
    (folder / "net.tflite").write_bytes(small_cnn())
    (folder / "bad.tflite").write_bytes(b"GIF89a")
    with running(folder / "data") as server:
        env = {
            **os.environ, "TRAINSHED_URL": server.url, "HOME": str(folder),
            "TRAINSHED_API_KEY": server.credentials["api_key"],
        }  # fmt: skip

        def call(*args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
            command = [str(Path(sys.executable).parent / "trainshed"), *args]
            done = subprocess.run(
                command, env=env, cwd=folder, capture_output=True, text=True, timeout=240,
                check=False,
            )  # fmt: skip
            assert done.returncode == status, (done.stdout, done.stderr)
            return done

        yield call


def test_looking(trainshed: Trainshed) -> None:
    shown = trainshed("boards", "list").stdout
    assert "nrf5340dk" in shown
    assert "available" in shown
    listed = json.loads(trainshed("boards", "list", "--json").stdout)
    assert len(listed) >= 12
    facts = trainshed("boards", "show", "nrf5340dk").stdout
    assert "512.0 KiB" in facts
    assert "emulated" in facts
    assert json.loads(trainshed("boards", "show", "nrf5340dk", "--json").stdout)["sources"]
    trainshed("boards", "show", "none", status=4)


def test_checking(trainshed: Trainshed) -> None:
    said = trainshed("boards", "check", "net.tflite", "--board", "nrf5340dk").stdout
    assert said.splitlines()[-1] == "valid"
    bad = trainshed("boards", "check", "bad.tflite", "--board", "nrf5340dk", "--json", status=1)
    assert json.loads(bad.stdout)["errors"]
    assert json.loads(trainshed("uploads", "list", "--json").stdout) == []


def test_running(trainshed: Trainshed) -> None:
    done = trainshed("boards", "run", "net.tflite", "--board", "nrf5340dk").stdout
    figures = {line.split()[0]: line.split()[-1] for line in done.splitlines()[:5]}
    assert figures == {"inference": "ms", "energy": "µJ", "power": "µW", "RAM": "KB", "flash": "KB"}
    again = trainshed("boards", "run", "net.tflite", "--board", "rpi_pico", "--json").stdout
    found = json.loads(again)
    assert (found["state"], found["fault"]) == ("SUCCEEDED", None)
    assert found["result"]["ram_usage"] > 0
    trainshed("boards", "run", "bad.tflite", "--board", "nrf5340dk", status=1)
    left = json.loads(trainshed("credits", "--json").stdout)
    assert "8000000" in json.dumps(left)


def test_the_operator_gives_runs(trainshed: Trainshed) -> None:
    (account,) = [
        a
        for a in json.loads(trainshed("accounts", "list", "--json").stdout)
        if a["name"] == "admin"
    ]
    given = trainshed("accounts", "grant", account["id"], "5", "--unit", "board_run").stdout
    assert given.endswith("board_run available\n")
    changed = trainshed("accounts", "update", account["id"], "--plan", "pro", "--json").stdout
    assert json.loads(changed)["plan"] == "pro"
    trainshed("accounts", "update", account["id"], "--plan", "gold", status=2)
