"""A long log at the Middleman door: page by page, every line once, whatever happens meanwhile."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import World
from tests.support.middleman import Api, middleman_world

from trainshed.usecases import lines, logs

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
N = 100_000 if FULL else 40_000
LINE = "line {:06d} of a long log, with a little more to say"


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with middleman_world(tmp_path) as one:
        yield one


class Log:
    """A running job's log, written by hand."""

    def __init__(self, w: World) -> None:
        self.w, self.api = w, Api(w, w.admin)
        self.job_id = self.api.job()["id"]
        self.attempt = w.lease(w.admin, "job_" + self.job_id.replace("-", ""))
        self.sizes = dict.fromkeys(("stdout", "stderr", "system"), 0)

    def write(self, stream: str, data: bytes, ago: float = 0.0) -> None:
        at = self.w.clock.utc_now() - timedelta(seconds=ago)
        begin = self.sizes[stream]
        self.w.deps.store.write(
            lambda tx: tx.streams.append_log(self.attempt.id, stream, begin, data, at)
        )
        self.sizes[stream] += len(data)

    def seal(self, keep: int = 0) -> None:
        account = self.w.admin.principal.account_id
        for stream in self.sizes:
            logs.seal(self.w.deps, account, self.attempt.id, stream, keep)

    def page(self, after: str) -> tuple[list[dict[str, Any]], str]:
        answer = self.api("GET", f"/jobs/{self.job_id}/logs", params={"after": after})
        assert set(answer) == {"logs", "next"}
        return answer["logs"], answer["next"]

    def rest(self, after: str = "") -> tuple[list[dict[str, Any]], str]:
        out = []
        while True:
            found, after = self.page(after)
            if not found:
                return out, after
            out += found

    def listed(self, **params: Any) -> Any:
        return self.api("GET", f"/jobs/{self.job_id}/logs", params=params)


def long_log(w: World) -> Log:
    log, batch = Log(w), 500
    for first in range(0, N, batch):
        text = "".join(f"{LINE.format(n)}\n" for n in range(first, first + batch))
        log.write("stdout", text.encode())
        if first % 10_000 == 0:
            log.write("stderr", f"warned at {first}\n".encode())
        w.clock.advance(0.001)
    return log


def test_a_long_log_comes_once_each_line_in_little_memory(w: World) -> None:
    log = long_log(w)
    log.seal(keep=logs.SEAL_AT // 4)
    deps, who, job_id = w.deps, w.admin.principal, log.attempt.job_id
    tracemalloc.start()
    seen, after, sizes, ids = [], "", [], set()
    while True:
        page = lines.page(deps, who, job_id, after)
        after = page.cursor
        sizes.append(len(page.lines))
        ids |= {one.id for one in page.lines}
        seen += [one.text for one in page.lines if one.stream == "stdout"]
        if not page.more:
            break
    peak = tracemalloc.get_traced_memory()[1]
    held = sum(map(len, seen))
    tracemalloc.stop()
    assert seen == [LINE.format(n) for n in range(N)]
    assert len(ids) == sum(sizes) == N + N // 10_000
    assert max(sizes) == lines.MAX_LINES
    print(f"{N} lines of {log.sizes['stdout']} bytes: {peak} bytes at most, {held} of them seen")
    assert lines.page(deps, who, job_id, after).lines == []


def test_pages_hold_little_of_a_log(w: World) -> None:
    """What a page needs does not grow with the log."""
    log = long_log(w)
    log.seal(keep=logs.SEAL_AT // 4)
    deps, who, job_id = w.deps, w.admin.principal, log.attempt.job_id
    peaks, after = [], ""
    for _ in range(N // lines.MAX_LINES):
        tracemalloc.start()
        after = lines.page(deps, who, job_id, after).cursor
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(f"peaks of {len(peaks)} pages: {peaks}")
    assert max(peaks) < 24 * 1024**2
    assert max(peaks) < 3 * min(peaks)


def test_ids_and_times_stay_when_a_log_is_put_away(w: World) -> None:
    log = Log(w)
    for n in range(300):
        text = f"{n}.0\n{n}.1\n{n}.2\n".encode() + b"z" * (n % 7)
        log.write("stdout" if n % 5 else "stderr", text)
        w.clock.advance(0.01 if n % 3 else 0.0)
    log.write("stdout", b"\n")
    before, _ = log.rest()
    ways: list[dict[str, Any]] = [{"tail": 40}, {"since": before[500]["timestamp"]}, {}]
    shown = [log.listed(**way) for way in ways]
    assert shown[0]["logs"] == before[-40:]
    assert shown[1] == before[501:]
    assert shown[2] == before
    log.seal(keep=2000)
    assert [log.listed(**way) for way in ways] == shown
    log.seal()
    assert [log.listed(**way) for way in ways] == shown
    assert log.rest()[0] == before
    for index in range(0, len(before), 37):
        assert log.listed(since=before[index]["timestamp"]) == before[index + 1 :]


def test_nothing_that_arrives_late_is_passed_over(w: World) -> None:
    """Streams come in any order of time; unfinished lines wait."""
    log = Log(w)
    log.write("stdout", b"out 1\nout")
    found, after = log.rest()
    assert [e["message"] for e in found] == ["out 1"]
    log.write("stderr", b"err, of long ago\n", ago=3600)
    log.write("stdout", b" 2\n")
    log.seal()
    found, after = log.rest(after)
    assert sorted(e["message"] for e in found) == ["err, of long ago", "out 2"]
    log.write("stdout", b"the end")
    assert log.rest(after) == ([], after)


def test_a_line_without_an_end_comes_in_pieces(w: World) -> None:
    log = Log(w)
    log.write("stdout", b"short\n" + b"x" * (3 * lines.LONG + 10))
    found, after = log.rest()
    assert [len(e["message"]) for e in found] == [5] + [lines.MAX_TEXT] * 3
    log.write("stdout", b"\nlast\n")
    found, after = log.rest(after)
    assert [len(e["message"]) for e in found] == [10, 4]
    whole, again = log.rest()
    assert (len(whole), again) == (6, after)
    assert len({e["id"] for e in whole}) == 6


def test_a_cut_list_says_where_it_goes_on(w: World) -> None:
    log = Log(w)
    text = "".join(f"{n}\n" for n in range(lines.MAX_LINES + 5))
    log.write("stdout", text.encode())
    path = f"{log.api.root}/jobs/{log.job_id}/logs"
    answer = w.client.get(path, headers=log.api.headers)
    assert [e["message"] for e in answer.json()] == [str(n) for n in range(lines.MAX_LINES)]
    follow = answer.links["next"]["url"]
    rest = w.client.get(path + follow, headers=log.api.headers).json()["logs"]
    assert [e["message"] for e in rest] == [str(lines.MAX_LINES + n) for n in range(5)]
    last = w.client.get(path, headers=log.api.headers, params={"tail": 5})
    assert last.json()["logs"] == rest
    assert "link" not in last.headers
    for wrong in ("x", "1.2.3", "1.2.3.-4", "1.2.3.4\n", "9" * 90):
        body = log.api("GET", f"/jobs/{log.job_id}/logs", 400, params={"after": wrong})
        assert log.api.refused(body) == "invalid_request"
