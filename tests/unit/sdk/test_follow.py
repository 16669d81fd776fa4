"""Followed streams survive cuts: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed_client.api.events import Events
from trainshed_client.api.jobs import Jobs
from trainshed_client.backoff import Backoff
from trainshed_client.errors import NotAuthenticated, NotFound, Unreachable
from trainshed_client.models import Log, MetricPoint, StateChange
from trainshed_client.transport import Transport

Frame = tuple[str, dict[str, Any], str]


def encode(frame: Frame) -> bytes:
    kind, data, id_ = frame
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class Cut(httpx2.AsyncByteStream):
    """Sends bytes, then drops the connection (or ends it, if ``clean``)."""

    def __init__(self, data: bytes, clean: bool) -> None:
        self.data, self.clean = data, clean

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 17):
            yield self.data[start : start + 17]
        if not self.clean:
            raise httpx2.ReadError("cut")


class Server:
    """A stream of frames; each connection sees so many bytes of it before it is cut."""

    def __init__(self, frames: list[Frame], cuts: list[int], *, resumes: bool = True) -> None:
        self.frames, self.cuts, self.resumes = frames, list(cuts), resumes
        self.last_ids: list[str | None] = []
        self.log = b""

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/logs"):
            return self._logs(request)
        last = request.headers.get("last-event-id")
        self.last_ids.append(last)
        start = 0
        if last and self.resumes:
            start = max(i for i, frame in enumerate(self.frames) if frame[2] == last) + 1
        data = b": open\n\n" + b"".join(map(encode, self.frames[start:]))
        cut = self.cuts.pop(0) if self.cuts else len(data)
        kind = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=kind, stream=Cut(data[:cut], cut >= len(data)))

    def _logs(self, request: httpx2.Request) -> httpx2.Response:
        offset, limit = (int(request.url.params[k]) for k in ("offset", "limit"))
        text = self.log[offset : offset + limit].decode()
        body = {"stream": "stdout", "attempt": 1, "offset": offset, "next": offset + len(text)}
        return httpx2.Response(200, json={**body, "text": text, "size": len(self.log)})

    def transport(self) -> Transport:
        async def sleep(_: float) -> None:
            return None

        return Transport(
            "http://shed", "k", backoff=Backoff(), http=httpx2.MockTransport(self), sleep=sleep
        )


def log_frames(pieces: list[str]) -> list[Frame]:
    frames: list[Frame] = [("state", {"state": "RUNNING"}, "1.0.0.0")]
    at = 0
    for text in pieces:
        end = at + len(text.encode())
        body = {"stream": "stdout", "attempt": 1, "offset": at, "next": end, "text": text}
        frames.append(("log", body, f"1.{end}.0.0"))
        at = end
    return [*frames, ("end", {"state": "SUCCEEDED"}, f"1.{at}.0.0x")]


async def read(server: Server) -> tuple[str, list[StateChange]]:
    text, states = "", []
    async for item in Jobs(server.transport()).follow_logs("job_1"):
        if isinstance(item, Log):
            text += item.text
        else:
            states.append(item)
    return text, states


@given(
    pieces=st.lists(st.text(min_size=1, max_size=30), max_size=8),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    resumes=st.booleans(),
)
def test_log_is_whole_whatever_is_cut(pieces: list[str], cuts: list[int], resumes: bool) -> None:
    import asyncio

    server = Server(log_frames(pieces), cuts, resumes=resumes)
    text, states = asyncio.run(read(server))
    assert text == "".join(pieces)
    assert [(s.state, s.final) for s in states] == [("RUNNING", False), ("SUCCEEDED", True)]


async def test_it_resumes_where_it_was() -> None:
    frames = log_frames(["one\n", "two\n", "three\n"])
    cut = len(b": open\n\n" + b"".join(map(encode, frames[:3]))) + 5
    server = Server(frames, [cut])
    assert (await read(server))[0] == "one\ntwo\nthree\n"
    assert server.last_ids == [None, "1.8.0.0"]


async def test_half_an_event_is_not_an_event() -> None:
    frames = log_frames(["one\n", "two\n"])
    server = Server(frames, [len(b": open\n\n" + b"".join(map(encode, frames[:3]))) - 1])
    assert (await read(server))[0] == "one\ntwo\n"


async def test_a_gap_is_fetched() -> None:
    frames = log_frames(["one\n", "two\n", "three\n"])
    del frames[2]
    server = Server(frames, [])
    server.log = b"one\ntwo\nthree\n"
    assert (await read(server))[0] == "one\ntwo\nthree\n"


async def test_resync_connects_again_at_the_last_id() -> None:
    frames = log_frames(["one\n", "two\n"])
    server = Server(frames, [])
    first = [*frames[:2], ("resync", {"left_out": 3}, "")]
    whole = server.frames
    server.frames = first

    def swap(request: httpx2.Request) -> httpx2.Response:
        answer = Server.__call__(server, request)
        server.frames = whole
        return answer

    transport = server.transport()
    transport._http = httpx2.AsyncClient(transport=httpx2.MockTransport(swap))
    found = [i async for i in Jobs(transport).follow_logs("job_1")]
    assert "".join(i.text for i in found if isinstance(i, Log)) == "one\ntwo\n"
    assert server.last_ids == [None, "1.4.0.0"]


def metric(step: int, id_: str = "") -> Frame:
    return (
        "metric",
        {"key": "loss", "step": step, "at_ms": step, "value": 1.0, "flag": None},
        id_,
    )


@given(cuts=st.lists(st.integers(0, 900), max_size=5), ids=st.booleans())
def test_metrics_come_once(cuts: list[int], ids: bool) -> None:
    import asyncio

    # An id stands at the end of a batch of three; a point may truly be there twice.
    frames = [metric(n // 2, f"1.{n}" if ids and n % 3 == 2 else "") for n in range(12)]
    server = Server([*frames, ("end", {"state": "FAILED"}, "")], cuts)

    async def collect() -> list[MetricPoint]:
        return [p async for p in Jobs(server.transport()).follow_metrics("job_1")]

    assert [p.step for p in asyncio.run(collect())] == [n // 2 for n in range(12)]


async def test_events_come_once_and_in_order() -> None:
    frames: list[Frame] = [
        (f"job.{n}", {"seq": n, "kind": f"job.{n}", "data": {}}, str(n)) for n in range(1, 6)
    ]
    server = Server(frames, [150, 0, 90], resumes=False)
    seen = []
    async for event in Events(server.transport()).follow(after_seq=1):
        seen.append(event.seq)
        if event.seq == 5:
            break
    assert seen == [2, 3, 4, 5]
    assert server.last_ids[0] == "1"


async def test_a_refusal_is_raised_at_once() -> None:
    calls = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        return httpx2.Response(404, json={"code": "not_found", "detail": "no"})

    transport = Transport("http://shed", http=httpx2.MockTransport(refuse))
    with pytest.raises(NotFound):
        [i async for i in Jobs(transport).follow_logs("job_1")]
    assert len(calls) == 1


async def test_a_revoked_key_closes_the_stream() -> None:
    closed: Frame = ("closed", {"code": "not_authenticated", "detail": "revoked"}, "")
    server = Server([*log_frames(["a"])[:2], closed], [])
    with pytest.raises(NotAuthenticated, match="revoked"):
        await read(server)


async def test_a_dead_server_is_given_up() -> None:
    now = [0.0]

    def dead(request: httpx2.Request) -> httpx2.Response:
        now[0] += 7
        raise httpx2.ConnectError("refused")

    async def sleep(_: float) -> None:
        return None

    from trainshed_client.sse import follow

    transport = Transport("http://shed", http=httpx2.MockTransport(dead), sleep=sleep)
    with pytest.raises(Unreachable):
        [m async for m in follow(transport, "/x", give_up_s=60, clock=lambda: now[0])]
    assert 60 <= now[0] <= 90
