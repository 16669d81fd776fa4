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
    """A log that grows by ``batches``, one before each poll of the job; it answers with pages."""

    def __init__(self, *batches: list[dict[str, str]], size: int = 2) -> None:
        self.batches, self.size = [*batches], size
        self.lines: list[dict[str, str]] = []
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        after = request.url.params["after"]
        self.asked.append((after, request.url.params.get("since")))
        begin = int(after or 0)
        page = self.lines[begin : begin + self.size]
        return httpx2.Response(200, json={"logs": page, "next": str(begin + len(page))})

    def status(self, *_: Any) -> httpx2.Response:
        if self.batches:
            self.lines += self.batches.pop(0)
        return httpx2.Response(200, json=job(status="running" if self.batches else "completed"))


def follow(stub: Stub, client: MiddlemanClient, log: Log) -> list[str]:
    stub.on("GET /jobs/j", log.status).on("GET /jobs/j/logs", log)
    return [entry["id"] for entry in client.follow_logs("j", 0.001)]


def test_every_line_comes_once_whatever_its_time(client: MiddlemanClient, stub: Stub) -> None:
    every = [line(n, START - timedelta(seconds=n % 3)) for n in range(9)]
    log = Log(every[:5], [], every[5:6], every[6:], [])
    assert follow(stub, client, log) == [entry["id"] for entry in every]
    assert log.asked[:4] == [("", None), ("2", None), ("4", None), ("5", None)]


def test_lines_written_before_the_end_are_not_lost(client: MiddlemanClient, stub: Stub) -> None:
    log = Log([line(n, START) for n in range(7)])
    assert len(follow(stub, client, log)) == 7


def test_follow_begins_where_it_is_told(client: MiddlemanClient, stub: Stub) -> None:
    log = Log([line(1, START)])
    stub.on("GET /jobs/j", log.status).on("GET /jobs/j/logs", log)
    assert [e["message"] for e in client.follow_logs("j", since=START)] == ["line 1"]
    assert log.asked[0] == ("", START.isoformat())


def test_a_log_is_read_page_by_page(client: MiddlemanClient, stub: Stub) -> None:
    log = Log()
    log.lines = [line(n, START) for n in range(5)]
    stub.on("GET /jobs/j/logs", log)
    feed = client.iter_job_logs("j")
    assert next(feed) == log.lines[0]
    assert len(log.asked) == 1
    assert [*feed] == log.lines[1:]
    assert client.get_job_logs("j", since="2026-01-01T00:00:00Z") == log.lines
    assert log.asked[-1] == ("5", "2026-01-01T00:00:00Z")


def test_the_last_lines_and_nonsense(client: MiddlemanClient, stub: Stub) -> None:
    one = line(0, START)
    stub.on("GET /jobs/j/logs", {"logs": [one]}, {"nothing": 1}, {"logs": [one]}, [one])
    assert client.get_job_logs("j", tail=1) == [one]
    assert dict(stub.requests[0].url.params) == {"tail": "1"}
    for _ in range(3):
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
