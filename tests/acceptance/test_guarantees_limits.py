"""Limits hold and let go again: a full disk, two accounts, a job's own bounds
(G19, G24, SECURITY 37 and 38).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.server import Api, Server, doctor, eventually, running

MIB = 1024**2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        why = f"no small disk: {made.stderr.strip()}"
        print(why)
        pytest.skip(why)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_writes_and_recovers_by_itself(small_disk: Path) -> None:
    env = {"TRAINSHED_MIN_FREE_BYTES": str(4 * MIB)}
    code = (
        "import os\nprint('said')\n"
        "open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/kept.txt', 'w').write('kept')\n"
    )
    with running(small_disk / "data", **env) as server:
        api = Api(server)
        job_id = api.python(code)
        api.wait(job_id)
        ballast = small_disk / "ballast"

        def refused() -> None:
            for path, body in (
                ("/v1/jobs", {"command": ["true"]}),
                ("/v1/uploads", {"path": "a", "size_bytes": 10}),
            ):
                answer = api.http.post(path, json=body)
                assert answer.status_code == 507, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "storage_full"

        def reads() -> None:
            assert api.job(job_id)["state"] == "SUCCEEDED"
            assert api.logs(job_id) == b"said\n"
            link = api.http.post("/v1/downloads", json={"job_id": job_id, "path": "kept.txt"})
            assert api.http.get(api.ok(link)["url"]).content == b"kept"
            assert api.http.get("/v1/health").status_code == 200

        for leave in (3 * MIB, 0):
            with ballast.open("ab") as out, contextlib.suppress(OSError):
                while os.statvfs(small_disk).f_bavail * 4096 > leave:
                    out.write(b"x" * 65536)
                    out.flush()
            refused()
            reads()
        # Really full: a write that the check does not see ends in an error of ours, too.
        answer = api.http.post("/v1/keys", json={"name": "k"})
        assert answer.status_code in (201, 507), answer.text
        reads()
        ballast.unlink()
        again = api.python(code)
        assert api.wait(again)["state"] == "SUCCEEDED"
        assert api.logs(again) == b"said\n"
        assert doctor(server) == []
        server.stop()


def newcomer(api: Api, server: Server) -> Api:
    """Return the helpers of a person in an account of its own, with credits."""
    account = api.ok(api.http.post("/v1/accounts", json={"name": "second"}))["id"]
    grant = {"amount_ucredits": 1_000_000_000}
    api.ok(api.http.post(f"/v1/accounts/{account}/grants", json=grant))
    who = {"username": "bob", "password": "a-long-password-of-bob"}
    body = {**who, "role": "admin", "account_id": account}
    api.ok(api.http.post("/v1/users", json=body))
    return Api(server, api.ok(api.http.post("/v1/login", json=who))["token"])


def test_a_second_account_does_not_wait_for_the_firsts_queue(tmp_path: Path) -> None:
    n = 200
    with running(tmp_path / "data", TRAINSHED_CPUS="2") as server:
        first = Api(server)
        second = newcomer(first, server)
        body = {"command": ["sleep", "0.05"], "max_runtime_s": 60}
        jobs = [first.ok(first.http.post("/v1/jobs", json=body))["id"] for _ in range(n)]
        mine = second.submit(["true"])
        waiting = len(first.ok(first.http.get("/v1/jobs?state=QUEUED&limit=200"))["items"])
        assert waiting > 20, "the first account's queue is long when the second comes"
        assert second.wait(mine)["state"] == "SUCCEEDED"
        left = first.ok(first.http.get("/v1/jobs?state=QUEUED&limit=200"))["items"]
        print(f"{waiting} waited before, {len(left)} after")
        assert len(left) >= waiting // 2
        for job_id in jobs:
            first.http.post(f"/v1/jobs/{job_id}/cancel")
        eventually(
            lambda: not first.ok(first.http.get("/v1/jobs?state=QUEUED"))["items"], 20, "cancelled"
        )


def test_a_job_has_no_privileges_to_gain(api: Api) -> None:
    job_id = api.python("print(open('/proc/self/status').read())")
    job = api.wait(job_id)
    status = dict(
        line.split(":\t", 1) for line in api.logs(job_id).decode().splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"].strip() == "1", job["attempt"]["isolation"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["Uid"].split()[0] != "0"


def test_a_job_without_network_reaches_nothing(server: Server, api: Api) -> None:
    code = (
        "import os, socket\n"
        f"places = [('127.0.0.1', {server.port}), ('169.254.169.254', 80)]\n"
        "for place in places:\n"
        "    try:\n"
        "        socket.create_connection(place, 2)\n"
        "        print('connected', place)\n"
        "    except OSError as error:\n"
        "        print('refused')\n"
    )
    closed = api.python(code, network="none")
    assert api.wait(closed)["state"] == "SUCCEEDED"
    assert api.logs(closed) == b"refused\nrefused\n"
    probe = code.replace(", ('169.254.169.254', 80)", "")
    opened = api.python(probe, network="host")
    assert api.wait(opened)["state"] == "SUCCEEDED"
    if b"Network: none" not in api.logs(opened, "system"):
        assert b"connected" in api.logs(opened), "the probe itself works"
