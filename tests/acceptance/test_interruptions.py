"""A real training script, through Middleman: paused, evicted, its runner and its server killed, and
resumed each time. It ends where the undisturbed run ends, having repeated at most an epoch for each
interruption, and is billed for what it kept.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clients import PINNED
from tests.support.server import Api, Server, doctor, eventually, processes_with, running

from middleman import Job, MiddlemanClient
from trainshed.executors.process.procs import left_handle

SCRIPT = (PINNED / "resumable.py").read_bytes()
EPOCHS = 25
CREDIT = 1_000_000
QUICK = {
    "TRAINSHED_CPUS": "1", "TRAINSHED_PREEMPT_MIN_RUN_S": "0.5",
    "TRAINSHED_LEASE_S": "3", "TRAINSHED_HEARTBEAT_S": "0.5",
}  # fmt: skip
#: So dear that what a run keeps shows in whole credits: one a second.
PRICES = json.dumps(
    [
        {"name": "local-cpu", "credits_per_hour": 3600},
        {"name": "t4", "gpu_type": "t4", "vram_gb": 16, "credits_per_hour": 3600,
         "charge_increment_credits": 1},
    ]
)  # fmt: skip
CREDITS = 20_000


class Watch(threading.Thread):
    """Polls one job all the while; keeps what was ever shown."""

    def __init__(self, server: Server, job_id: str) -> None:
        super().__init__(daemon=True)
        self.server, self.job_id = server, job_id
        self.seen: list[str] = []
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        with client_of(self.server) as client:
            last = False
            while not last:
                last = self.over.is_set()
                try:
                    status = client.get_job(self.job_id).status.value
                except Exception:  # the server is being killed
                    status = ""
                if status and status not in self.seen[-1:]:
                    self.seen.append(status)
                time.sleep(0.02)

    def stop(self) -> list[str]:
        self.over.set()
        self.join(30)
        return self.seen


def client_of(server: Server) -> MiddlemanClient:
    key = server.credentials["middleman_api_key"]
    return MiddlemanClient(api_key=key, base_url=f"{server.url}/api/v1")


def until(client: MiddlemanClient, job_id: str, done: Callable[[Job], Any]) -> Job:
    def look() -> Job | None:
        job = client.get_job(job_id)
        if done(job):
            return job
        assert not job.is_terminal, (job, client.get_job_logs(job_id)[-20:])
        return None

    found: Job = eventually(look, 90, "the job gets so far")
    return found


def kept(api: Api, job_id: str) -> int:
    """The epoch of the newest durable checkpoint."""
    found = api.ok(api.http.get(f"/v1/jobs/{job_id}/checkpoints"))["items"]
    return max((one["step"] for one in found), default=0)


def lines_of(api: Api, job_id: str) -> list[list[str]]:
    """What each Attempt said."""
    n = api.job(job_id)["n_attempts"]
    texts = []
    for number in range(1, n + 1):
        params: dict[str, Any] = {"stream": "stdout", "attempt": number, "limit": 1024**2}
        found = api.ok(api.http.get(f"/v1/jobs/{job_id}/logs", params=params))
        texts.append(found["text"].splitlines())
    return texts


def epochs_of(lines: list[str]) -> list[int]:
    return [int(m[1]) for line in lines if (m := re.match(r"Epoch (\d+)/", line))]


def create(client: MiddlemanClient, epochs: int = EPOCHS, **env: str) -> str:
    made = client.create_job(
        "resumable.py", "resumable.py", gpu_type="t4", max_runtime_hours=1,
        checkpoint_frequency=1, environment_variables={"EPOCHS": str(epochs), **env},
    )  # fmt: skip
    return str(made.id)


def native(job_id: str) -> str:
    return "job_" + job_id.replace("-", "")


def runner_of(server: Server) -> int:
    places = (server.data / "workspaces").iterdir()
    pids = [int(left_handle(place).get("pid", 0)) for place in places]
    (alive,) = [p for p in pids if p and Path(f"/proc/{p}").exists()]
    return alive


def result_of(text: list[str]) -> str:
    (line,) = [one for one in text if one.startswith("accuracy ")]
    return line


@pytest.fixture
def client(server: Server) -> Iterator[MiddlemanClient]:
    with client_of(server) as one:
        yield one


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    env = {**QUICK, "TRAINSHED_POOLS": PRICES, "TRAINSHED_ADMIN_CREDITS": str(CREDITS)}
    with running(tmp_path / "data", **env) as one:
        Api(one).upload("resumable.py", SCRIPT)
        yield one


def check_money(client: MiddlemanClient, api: Api, job_id: str) -> None:
    """Billed is what was kept, in whole credits; the rest of the reservation came back (D9)."""
    tried = api.ok(api.http.get(f"/v1/jobs/{native(job_id)}/attempts"))["items"]
    billed = math.ceil(sum(a["billable_ms"] for a in tried) / 1000)
    receipt = api.ok(api.http.get(f"/v1/jobs/{native(job_id)}/receipt"))
    assert receipt["captured_ucredits"] == billed * CREDIT
    assert receipt["held_ucredits"] == 3600 * CREDIT
    assert receipt["captured_ucredits"] + receipt["released_ucredits"] == 3600 * CREDIT
    assert receipt["fallback"]
    assert client.get_job(job_id).actual_cost == billed
    for one in tried:
        assert one["billable_ms"] <= one["runtime_ms"] or one["state"] == "LOST"
    rows, total = client.get_transactions(limit=100)
    balance = client.get_balance()
    assert total == len(rows)
    assert sum(row["amount"] for row in rows) == balance.balance == balance.available
    assert -sum(r["amount"] for r in rows if r.get("job_id") == job_id) == billed


def test_paused_evicted_and_killed_it_ends_where_the_undisturbed_run_ends(
    server: Server, client: MiddlemanClient
) -> None:
    api = Api(server)
    calm = create(client, PACE="0")
    until(client, calm, lambda j: j.status.value == "completed")
    (said,) = lines_of(api, native(calm))
    assert epochs_of(said) == list(range(1, EPOCHS + 1))
    expected = result_of(said)
    check_money(client, api, calm)

    job = create(client)
    watch = Watch(server, job)
    until(client, job, lambda j: j.current_epoch >= 4)
    assert client.pause_job(job).status.value == "paused"
    eventually(lambda: "paused" in watch.seen, 30, "others see it paused")
    assert client.resume_job(job).status.value == "resuming"

    until(client, job, lambda j: j.current_epoch >= 9)
    rush = api.python("import time; time.sleep(1)", priority=10, max_runtime_s=60)
    until(client, job, lambda j: j.status.value == "evicted")
    assert api.wait(rush)["state"] == "SUCCEEDED"

    until(client, job, lambda j: j.current_epoch >= 13 and j.status.value == "running")
    reached = client.get_job(job).current_epoch
    eventually(lambda: kept(api, native(job)) >= reached, 30, "a fast epoch is kept while it runs")
    os.kill(runner_of(server), signal.SIGKILL)
    until(client, job, lambda j: j.retry_count == 2)

    until(client, job, lambda j: j.current_epoch >= 19 and j.status.value == "running")
    server.kill()
    server.start()
    api = Api(server)
    done = until(client, job, lambda j: j.status.value == "completed")
    seen = watch.stop()
    assert {"paused", "resuming", "running", "evicted", "completed"} <= set(seen), seen
    assert seen[-1] == "completed"

    said = lines_of(api, native(job))
    tried = api.ok(api.http.get(f"/v1/jobs/{native(job)}/attempts"))["items"]
    assert [(a["state"], a["reason"]) for a in tried] == [
        ("EVICTED", "paused"), ("EVICTED", "preempted"), ("LOST", "lost"),
        ("SUCCEEDED", "completed"),
    ]  # fmt: skip
    assert result_of(said[-1]) == expected
    ran = [epochs_of(lines) for lines in said]
    assert sum(map(len, ran)) <= EPOCHS + 3, ran
    for before, (first, *_), lines in zip(ran, ran[1:], said[1:], strict=False):
        assert lines[0] == f"Resumed after epoch {first - 1}"
        assert before[-1] <= first <= before[-1] + 1
    assert {epoch for one in ran for epoch in one} == set(range(1, EPOCHS + 1))
    shown = [entry["message"] for entry in client.get_job_logs(job)]
    assert sum(line.startswith("Resumed after epoch") for line in shown) == 3
    assert (done.current_epoch, done.total_epochs) == (EPOCHS, EPOCHS)
    found = api.ok(api.http.get(f"/v1/jobs/{native(job)}/events", params={"limit": 200}))["items"]
    kinds = [event["kind"] for event in found]
    assert "attempt.checkpointing" in kinds
    assert kinds.count("job.resuming") == 3
    check_money(client, api, job)
    assert doctor(server) == []


def test_a_process_that_was_killed_is_explained_and_can_go_on(
    server: Server, client: MiddlemanClient
) -> None:
    """Whoever kills the script itself: the job has failed; a retry goes on where it was."""
    api = Api(server)
    calm = create(client, 12, PACE="0")
    until(client, calm, lambda j: j.status.value == "completed")
    job = create(client, 12)
    until(client, job, lambda j: j.current_epoch >= 6)
    for pid in processes_with("resumable.py"):
        exe = Path(f"/proc/{pid}/exe").resolve().name
        if exe.startswith("python"):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: client.get_job(job).is_terminal, 60, "its end is noticed")
    shown = api.job(native(job))
    assert (shown["state"], shown["reason"]) == ("FAILED", "signal"), shown
    assert "SIGKILL" in shown["message"]
    check_money(client, api, job)
    again = api.ok(api.http.post(f"/v1/jobs/{native(job)}/retry"))["id"]
    assert api.wait(again)["state"] == "SUCCEEDED"
    (first,), (second,) = lines_of(api, native(job)), lines_of(api, again)
    (calmly,) = lines_of(api, native(calm))
    assert result_of(second) == result_of(calmly)
    assert re.fullmatch(r"Resumed after epoch \d+", second[0])
    assert len(epochs_of(first)) + len(epochs_of(second)) <= 12 + 1
    assert doctor(server) == []
