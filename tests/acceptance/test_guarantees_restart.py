"""A runner dies, or the server restarts again and again: noticed in time, and nothing is lost
(G4, G5). The bounds asserted are the promised ones, which are the settings' and not this machine's.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import Api, Server, doctor, eventually, running

from trainshed.bootstrap.settings import Settings
from trainshed.executors.process.procs import left_handle

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
#: Prints when each line was said, so that a line from after a restart can be told.
STEADY = (
    "import time\nimport trainshed_job as job\n"
    "for i in range({n}):\n"
    "    print(i, time.time(), flush=True)\n    job.log(step=i, value=i)\n    time.sleep({pause})\n"
)


def runner_of(server: Server, job_id: str) -> int:
    """Pid of the runner of the only workspace there is."""
    (place,) = (server.data / "workspaces").iterdir()
    return int(left_handle(place).get("pid", 0))


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("heartbeat_s", "lease_s"),
    [pytest.param(None, None, id="as-shipped")] if FULL else [(1.0, 5.0)],
)
def test_a_dead_runner_is_noticed_in_time(
    tmp_path: Path, heartbeat_s: float | None, lease_s: float | None
) -> None:
    """LOST within the lease and 5 s, queued again within 5 s more: 30 s and 35 s as shipped."""
    env = {}
    if lease_s is not None:
        env = {"TRAINSHED_LEASE_S": str(lease_s), "TRAINSHED_HEARTBEAT_S": str(heartbeat_s)}
    shipped = Settings.model_fields
    assert (shipped["heartbeat_s"].default, shipped["lease_s"].default) == (5.0, 25.0)
    lease = lease_s or shipped["lease_s"].default
    with running(tmp_path / "data", **env) as server:
        api = Api(server)
        job_id = api.python(STEADY.format(n=100, pause=0.05))
        api.wait(job_id, "RUNNING")
        pid = runner_of(server, job_id)
        # The lease must be young: what counts is how long after the last renewal it is noticed.
        time.sleep(heartbeat_s or 5.0)
        os.kill(pid, signal.SIGKILL)
        killed = time.time()

        def tried() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = api.ok(api.http.get(f"/v1/jobs/{job_id}/attempts"))[
                "items"
            ]
            return found

        eventually(lambda: tried()[0]["ended_at"], lease + 30, "the first attempt's end")
        first = tried()[0]
        assert first["state"] == "LOST", first
        lost_s = moment(first["ended_at"]) - killed
        eventually(lambda: len(tried()) == 2, 30, "the second attempt")
        again_s = moment(tried()[1]["leased_at"]) - killed
        print(f"lost after {lost_s:.1f} s, leased again after {again_s:.1f} s (lease {lease} s)")
        assert lost_s <= lease + 5
        assert again_s <= lease + 10
        job = api.wait(job_id, timeout_s=60)
        assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 2)
        assert doctor(server) == []


def said_after(api: Api, job_id: str, moment_s: float, offset: int) -> tuple[bool, int]:
    """Whether the log holds a line said after ``moment_s``; and the log's length until now."""
    params: dict[str, Any] = {
        "stream": "stdout",
        "offset": offset,
        "raw": "true",
        "limit": 4 * 1024**2,
    }
    got = api.http.get(f"/v1/jobs/{job_id}/logs", params=params)
    assert got.status_code == 200, got.text
    lines = got.content.splitlines()
    whole = lines if got.content.endswith(b"\n") else lines[:-1]
    fresh = any(len(p := one.split()) == 2 and float(p[1]) > moment_s for one in whole)
    return fresh, offset + sum(len(one) + 1 for one in whole)


def hear_again(api: Api, read: dict[str, int], moment_s: float) -> None:
    """Wait until every job's log holds something said after ``moment_s``."""
    for job_id in read:

        def heard(job_id: str = job_id) -> bool:
            fresh, read[job_id] = said_after(api, job_id, moment_s, read[job_id])
            return fresh

        eventually(heard, 60, f"{job_id} is heard of again")


@pytest.mark.timeout(900)
def test_restarts_lose_nothing(tmp_path: Path) -> None:
    """20 jobs run while the server goes, politely and not, every 10 s for 5 min (CI: 4 times)."""
    n_jobs, rounds, every_s, lasts_s = (20, 30, 10.0, 420) if FULL else (20, 4, 3.0, 30)
    n = int(lasts_s / 0.1)
    slowest = slowest_start = 0.0
    with running(tmp_path / "data") as server:
        api = Api(server)
        spec = {"resources": {"cpus": 0.05, "memory_bytes": 64 * 1024**2}}
        code = STEADY.format(n=n, pause=0.1)
        jobs = [api.python(code, **spec) for _ in range(n_jobs)]
        for job_id in jobs:
            api.wait(job_id, "RUNNING")
        read = dict.fromkeys(jobs, 0)
        ways = cycle([signal.SIGTERM, signal.SIGKILL])
        begun, done, due = time.monotonic(), 0, time.monotonic() + every_s
        # On a slow machine fewer restarts fit into the jobs' time, but both ways are tried.
        while done < rounds and (done < 2 or time.monotonic() - begun < lasts_s - 15):
            time.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + every_s
            server.stop(next(ways))
            began = time.monotonic()
            server.start()
            up, up_at = time.monotonic(), time.time()
            slowest_start = max(slowest_start, up - began)
            api = Api(server)
            hear_again(api, read, up_at)
            slowest = max(slowest, time.monotonic() - up)
            assert {api.job(j)["state"] for j in jobs} == {"RUNNING"}, f"restart {done}"
            done += 1
        print(f"{done} restarts: up in {slowest_start:.1f} s, all heard of in {slowest:.1f} s more")
        assert slowest <= 10
        for job_id in jobs:
            job = api.wait(job_id, timeout_s=lasts_s + 120)
            assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 1), job
            lines = [line.split()[0] for line in api.logs(job_id).splitlines()]
            assert lines == [b"%d" % i for i in range(n)]
            params = {"key": "value", "max_points": 10_000, "first_step": 0}
            series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params=params))
            assert [p[2] for p in series["points"]] == list(range(n))
        assert doctor(server) == []
