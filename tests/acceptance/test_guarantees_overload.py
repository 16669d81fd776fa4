"""More than the server can do: it says so at once, and health and runners do not notice (G20)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import Api, Server, doctor, running

from trainshed.bootstrap.secrets import FileSecrets
from trainshed.wire import v1

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
ROOT = Path(__file__).parents[2]


class RunnersSocket(http.client.HTTPConnection):
    """The runners' own door."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Probe:
    """Asks one thing over and over, in a thread, and keeps how long each answer took."""

    def __init__(
        self, link: http.client.HTTPConnection, ask: Callable[[http.client.HTTPConnection], None]
    ) -> None:
        self._link, self._ask, self._halt = link, ask, threading.Event()
        self.took: list[float] = []
        self.wrong: Exception | None = None
        self._thread = threading.Thread(target=self._loop)

    def _loop(self) -> None:
        try:
            while not self._halt.wait(0.05):
                began = time.monotonic()
                self._ask(self._link)
                self.took.append(time.monotonic() - began)
        except Exception as error:
            self.wrong = error

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join(60)
        self._link.close()

    def at(self, share: float) -> float:
        """Milliseconds within which ``share`` of the answers came."""
        return sorted(self.took)[int(len(self.took) * share)] * 1000


def health(link: http.client.HTTPConnection) -> None:
    """Ask for health, without a credential."""
    link.request("GET", "/v1/health")
    answer = link.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (200, "ok")


def beating(server: Server, attempt_id: str) -> Callable[[http.client.HTTPConnection], None]:
    """Return what sends a heartbeat as the Attempt's own runner does, beside it."""
    signed = FileSecrets(server.data / "secrets").sign(b"runner-token:" + attempt_id.encode())
    token = f"tsr_{attempt_id[4:]}_{signed}"

    def heartbeat(link: http.client.HTTPConnection) -> None:
        path = f"{v1.PREFIX}/{attempt_id}/heartbeat"
        link.request("POST", path, b"{}", {"Authorization": f"Bearer {token}"})
        answer = link.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"order": None})

    return heartbeat


def flood(server: Server, seconds: float, clients: int) -> dict[str, Any]:
    """Let so many rude clients at the server; return what they saw."""
    job = {"command": ["true"], "max_runtime_s": 60, "resources": {"cpus": 1}}
    key = server.credentials["api_key"]
    given = {"port": server.port, "key": key, "seconds": seconds, "clients": clients, "job": job}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.flood"], cwd=ROOT, input=json.dumps(given) + "\n",
        capture_output=True, text=True, timeout=seconds + 120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.alone
def test_four_times_what_it_can_do(tmp_path: Path) -> None:
    """CI: 8 s and a small server; soak: 60 s and the default."""
    seconds, working = (60, 128) if FULL else (8, 16)
    env = {
        "TRAINSHED_RATE_LIMIT_PER_MINUTE": "0", "TRAINSHED_ADMIN_CREDITS": "1000000",
        "TRAINSHED_LEASE_S": "5", "TRAINSHED_HEARTBEAT_S": "1",
        "TRAINSHED_MAX_WORKING_REQUESTS": str(working), "TRAINSHED_CPUS": "1",
    }  # fmt: skip
    n = (seconds + 1) * 20  # the flood's jobs find no room beside this one: they only queue
    code = f"import time\nfor i in range({n}): print(i, flush=True); time.sleep(0.05)"
    with running(tmp_path / "data", executed=True, **env) as server:
        api = Api(server)
        steady = api.python(code, resources={"cpus": 0.1})
        attempt_id = api.wait(steady, "RUNNING")["attempt"]["id"]
        door = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        runners = RunnersSocket(server.data / "run" / "server.sock")
        with Probe(door, health) as healthy, Probe(runners, beating(server, attempt_id)) as beats:
            seen = flood(server, seconds, 4 * working)
            began = time.monotonic()
            while api.http.get("/v1/jobs").status_code != 200:
                assert time.monotonic() - began < 5, "it recovers"
                time.sleep(0.05)
        for probe, name in ((healthy, "health"), (beats, "heartbeat")):
            assert probe.wrong is None, (name, probe.wrong)
            print(f"{name}: p50 {probe.at(0.5):.0f}, p99 {probe.at(0.99):.0f} ms")
        print(seen)
        codes = {int(c): n for c, n in seen["codes"].items()}
        assert codes.get(503, 0) > 0, "more came than it could do, and it said so"
        assert codes.get(201, 0) > 0
        assert codes.get(200, 0) > 0
        assert set(codes) <= {200, 201, 503}, codes
        assert not seen["untold"], "each refusal says when to come back"
        assert not seen["broken"]
        assert beats.at(0.99) < 2000
        assert healthy.at(0.99) < 2000
        job = api.wait(steady)
        assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 1)
        assert api.logs(steady).split() == [b"%d" % i for i in range(n)]
        assert doctor(server) == []
