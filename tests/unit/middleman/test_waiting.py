"""Waiting for a job, streaming its status, following its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from tests.unit.middleman.conftest import Stub, job

from middleman import MiddlemanClient
from middleman.errors import BadAnswerError

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(number: int, at: datetime, attempt: int = 1) -> dict[str, str]:
    return {
        "id": f"{attempt}-stdout-{number}", "timestamp": at.isoformat().replace("+00:00", "Z"),
        "level": "INFO", "message": f"line {number}",
    }  # fmt: skip


class Log:
    """A log that grows by ``batches``, one before each poll; ``since`` is exclusive."""

    def __init__(self, *batches: list[dict[str, str]]) -> None:
        self.batches = [*batches]
        self.lines: list[dict[str, str]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.batches:
            self.lines += self.batches.pop(0)
        since = request.url.params.get("since")
        start = datetime.fromisoformat(since) if since else None
        found = [
            e for e in self.lines if not start or datetime.fromisoformat(e["timestamp"]) > start
        ]
        return httpx2.Response(200, json=found)

    def status(self, *_: Any) -> httpx2.Response:
        return httpx2.Response(200, json=job(status="running" if self.batches else "completed"))


def follow(stub: Stub, client: MiddlemanClient, log: Log) -> list[str]:
    stub.on("GET /jobs/j", log.status).on("GET /jobs/j/logs", log)
    return [entry["id"] for entry in client.follow_logs("j", 0.001)]


def test_lines_of_one_instant_come_once_each(client: MiddlemanClient, stub: Stub) -> None:
    same = [line(n, START) for n in range(5)]
    log = Log(same[:2], [], same[2:4], same[4:], [])
    assert follow(stub, client, log) == [entry["id"] for entry in same]


def test_a_long_follow_asks_for_the_new_only(client: MiddlemanClient, stub: Stub) -> None:
    every = [line(n, START + timedelta(seconds=n)) for n in range(60)]
    log = Log(*([entry] for entry in every))
    assert follow(stub, client, log) == [entry["id"] for entry in every]
    asked = [r.url.params.get("since") for r in stub.requests if r.url.path.endswith("/logs")]
    assert asked[30] is not None
    assert datetime.fromisoformat(asked[30]) > START + timedelta(seconds=20)


def test_lines_whose_times_move_at_the_end_are_not_lost(
    client: MiddlemanClient, stub: Stub
) -> None:
    late = [line(n, START + timedelta(seconds=1)) for n in (2, 3)]
    log = Log([line(1, START + timedelta(seconds=60))], late)
    assert follow(stub, client, log) == ["1-stdout-1", "1-stdout-2", "1-stdout-3"]


def test_lines_that_the_server_left_out_are_told(client: MiddlemanClient, stub: Stub) -> None:
    first, later = line(0, START), line(9, START + timedelta(seconds=1))
    stub.on("GET /jobs/j", job(), job(), job(status="completed"))
    stub.on("GET /jobs/j/logs", [first], [later], [later])
    found = list(client.follow_logs("j", 0.001))
    assert [entry["id"] for entry in found] == [first["id"], "before-1-stdout-9", later["id"]]
    assert found[1]["level"] == "WARNING"


def test_a_second_run_of_the_job_goes_on(client: MiddlemanClient, stub: Stub) -> None:
    log = Log([line(0, START)], [line(0, START + timedelta(seconds=9), attempt=2)], [])
    assert follow(stub, client, log) == ["1-stdout-0", "2-stdout-0"]


def test_follow_begins_where_it_is_told(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs/j", job(status="failed"))
    stub.on("GET /jobs/j/logs", Log([line(0, START), line(1, START + timedelta(seconds=1))]))
    assert [e["message"] for e in client.follow_logs("j", since=START)] == ["line 1"]


def test_logs_come_in_both_shapes(client: MiddlemanClient, stub: Stub) -> None:
    one = line(0, START)
    stub.on("GET /jobs/j/logs", [one], {"logs": [one]}, {"nothing": 1})
    assert client.get_job_logs("j", since="2026-01-01T00:00:00Z") == [one]
    assert dict(stub.requests[0].url.params) == {"since": "2026-01-01T00:00:00Z"}
    assert client.get_job_logs("j", tail=1) == [one]
    assert dict(stub.requests[1].url.params) == {"tail": "1"}
    with pytest.raises(BadAnswerError):
        client.get_job_logs("j")


def test_wait_for_job(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs/j", job(status="evicted"), job(), job(status="cancelled"))
    assert client.wait_for_job("j", poll_interval=0.001).status == "cancelled"
    assert len(stub.requests) == 3


def test_waiting_ends_in_time(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs/j", job())
    with pytest.raises(TimeoutError, match="still running"):
        client.wait_for_job("j", poll_interval=60, timeout=0.05)
    assert len(stub.requests) == 2
    stub.on("GET /jobs/j", job(status="completed"))
    assert client.wait_for_job("j", timeout=0).is_terminal


def test_stream_job_status(client: MiddlemanClient, stub: Stub) -> None:
    stub.on("GET /jobs/j", job(current_epoch=1), job(current_epoch=2), job(status="completed"))
    seen = list(client.stream_job_status("j", 0.001))
    assert [(one.current_epoch, one.status) for one in seen] == [
        (1, "running"), (2, "running"), (3, "completed"),
    ]  # fmt: skip
