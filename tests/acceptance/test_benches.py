"""A real board is attached to a real server: requests of its users are measured there.

The board is the machine's: the image that the server built runs in the emulator, a power profiler
on a pseudo-terminal tells what the script says; the real libraries speak to both.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.acceptance.test_mimaas import PublicClient, registered
from tests.support.bench import RealImageProbe, Script, standing
from tests.support.server import Api, Server, doctor, eventually, running
from tests.unit.board.batch import MISSING
from tests.unit.board.make_model import small_cnn

from trainshed.bootstrap.attach import Agent
from trainshed.workloads.board.target.bench import Bench
from trainshed.workloads.board.target.ppk2 import Ppk2
from trainshed.workloads.board.target.pyocd_probe import PyOcd
from trainshed_client import Client

absent = [name for name in ("qemu-system-arm", "arm-none-eabi-gcc") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(
    bool(absent or MISSING), reason=f"not installed: {absent} {MISSING}"
)

BOARD = "nrf52840dk"
#: Ten inferences of 3 ms, and one on each further input set.
WINDOWS = [3000] * 10 + [3100, 2900]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("benches") / "data") as one:
        yield one
        assert doctor(one) == []


@pytest.fixture(scope="module")
def client(server: Server) -> PublicClient:
    return registered(server)


@contextlib.contextmanager
def attached(server: Server, folder: Path, **probe: Any) -> Iterator[list[str]]:
    """A bench at work; yields what its program says."""
    said: list[str] = []
    over = threading.Event()
    with standing(folder / "board", Script(WINDOWS), RealImageProbe, **probe) as (meter, board):
        target = Bench(
            PyOcd(connect=board.connect, loader=board.loader), Ppk2(meter.port), timeout_s=60
        )
        with Client(server.url, server.credentials["api_key"]) as api:
            agent = Agent(api, target, BOARD, "desk", folder, said.append, ask_s=1)
            work = threading.Thread(target=agent.serve, args=(over.is_set,))
            work.start()
            try:
                eventually(lambda: said, 30, "attached")
                yield said
            finally:
                over.set()
                work.join(60)
    assert not work.is_alive()


def shown(server: Server) -> Any:
    api = Api(server)
    return api.ok(api.http.get(f"/v1/boards/{BOARD}"))


def test_a_request_is_measured(server: Server, client: PublicClient, tmp_path: Path) -> None:
    assert shown(server)["source"] == "emulated"
    with attached(server, tmp_path) as said:
        board = client.json("GET", f"/api/boards/{BOARD}", auth=False)
        assert board["provenance"]["source"] == "measured"
        ended = client.wait(client.submit(small_cnn(), BOARD)["id"])
    assert ended["status"] == "done", (ended, said)
    assert ended["result"]["duration_avg_s"] == pytest.approx(0.003, rel=1e-6)
    assert ended["result"]["avg_power_uW"] == pytest.approx(5000 * 3.0, rel=0.01)
    number = ended["id"]
    rows = list(csv.DictReader(io.StringIO(client.fetch(number, "power_samples").decode())))
    assert {row["source"] for row in rows} == {"measured"}
    report = json.loads(client.fetch(number, "report"))
    assert report["figures"]["duration_avg_s"]["source"] == "measured"
    assert report["figures"]["instructions"]["source"] == "emulated"
    assert client.json("GET", "/me")["available_runs"] == 9
    # a stranger's model is no measure for everybody's estimates
    later = shown(server)
    assert later["source"] == "emulated"
    assert not any("measured here" in note for note in later["notes"])


def test_what_the_bench_finds_wrong_is_said_and_costs_nothing(
    server: Server, client: PublicClient, tmp_path: Path
) -> None:
    before = client.json("GET", "/me")["available_runs"]

    def other(data: bytes, mailbox: bool) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:] if mailbox else data

    def wrong(data: bytes, mailbox: bool) -> bytes:
        return data if mailbox else bytes([data[0] ^ 1]) + data[1:]

    for number, (change, why) in enumerate(
        ((other, "another program is on it"), (wrong, "on the real board"))
    ):
        with attached(server, tmp_path / str(number), change=change):
            ended = client.wait(client.submit(small_cnn(), BOARD)["id"])
        assert ended["status"] == "error"
        assert why in ended["error_message"], ended
    assert client.json("GET", "/me")["available_runs"] == before


def test_the_operators_own_run_calibrates(server: Server, tmp_path: Path) -> None:
    api = Api(server)
    with attached(server, tmp_path):
        sent = api.upload("model.tflite", small_cnn())
        inputs = [{"source": "upload", "ref": sent, "path": "model.tflite"}]
        params = {"board": BOARD, "bench": True}
        body = {"workload": "board", "params": params, "inputs": inputs}
        job = api.wait(api.ok(api.http.post("/v1/jobs", json=body))["id"], timeout_s=180)
        assert job["state"] == "SUCCEEDED", api.logs(job["id"])
        assert b"waiting for the board on the bench" in api.logs(job["id"])
        note = "measured here"
        eventually(lambda: any(note in n for n in shown(server)["notes"]), 30, "calibrated")
    assert (server.data / "boards" / f"{BOARD}.json").exists()
    board = shown(server)
    assert board["source"] == "emulated"
    assert board["duration_band"] == 0.2


def test_the_command(server: Server, tmp_path: Path) -> None:
    env = {
        **os.environ, "TRAINSHED_URL": server.url, "HOME": str(tmp_path),
        "TRAINSHED_API_KEY": server.credentials["api_key"],
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "trainshed"), "boards", "attach", "--board"]
    shown_help = subprocess.run(
        [*command[:-1], "--help"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert "--ppk2" in shown_help.stdout
    unknown = subprocess.run(
        [*command, "rpi_pico"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert unknown.returncode == 2
    assert "cannot be measured" in unknown.stderr
    with subprocess.Popen(
        [*command, BOARD, "--name", "desk 2"], env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "is attached to" in process.stderr.readline()
        api = Api(server)
        names = [b["name"] for b in api.ok(api.http.get("/v1/benches"))["items"]]
        assert names == ["desk 2"]
        process.send_signal(signal.SIGTERM)
        assert "detached" in process.stderr.read()
    assert process.returncode == 0
    assert httpx2.get(f"{server.url}/v1/benches").status_code == 401
    assert api.ok(api.http.get("/v1/benches"))["items"] == []
