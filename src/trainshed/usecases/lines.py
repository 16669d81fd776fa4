"""A Job's log as lines with times: every stream of every Attempt in the order of time."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.streams import LOG_STREAMS, LogChunk
from trainshed.usecases import logs
from trainshed.usecases.queries import owned

MAX_LINES = 10_000
#: How much of the end of each stream is looked at; ``logs.read_log`` has all of it.
WINDOW = 1024**2
MAX_TEXT = 16 * 1024

#: Control sequences of terminals, and other controls but tab: nothing of a job may steer one.
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.?"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``id`` is its Attempt, stream and byte offset, and never changes.

    ``at`` is when the server got it, moved by microseconds so that lines that came together keep
    their order; of what has been sealed, between the times around it.
    """

    id: str
    at: datetime
    stream: str
    text: str


def newest(deps: Deps, principal: Principal, job_id: str, since: datetime | None) -> list[Line]:
    """Return the last ``MAX_LINES`` lines (of the last MiB of each stream), oldest first; those
    after ``since`` only. The unfinished last line of what runs is left for the next time.
    """

    def load(tx: Tx) -> list[Attempt]:
        owned(tx, principal, job_id)
        return tx.attempts.of_job(job_id)

    out: list[Line] = []
    for attempt in reversed(deps.store.read(load)):
        of_attempt = [
            line
            for stream in LOG_STREAMS
            for line in _lines(deps, principal, attempt, stream)
            if since is None or line.at > since
        ]
        out = sorted(of_attempt, key=lambda one: (one.at, one.id)) + out
        if len(out) >= MAX_LINES:
            break
    return out[-MAX_LINES:]


def plain(text: str) -> str:
    """Return what a terminal would show of a line: after its last carriage return, no controls."""
    shown = [part for part in text.rstrip("\r").split("\r") if part]
    return _CONTROL.sub("", shown[-1])[:MAX_TEXT] if shown else ""


def _lines(deps: Deps, principal: Principal, attempt: Attempt, stream: str) -> Iterator[Line]:
    start, data, times = _window(deps, principal, attempt, stream)
    if start:  # the window begins in the middle of a line
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:] if cut else b""
    ended = not attempt.live
    at, last = start, attempt.leased_at
    pieces = data.split(b"\n")
    whole = pieces if ended and pieces[-1] else pieces[:-1]
    for piece in whole:
        moment = max(times.when(at), last + timedelta(microseconds=1))
        text = plain(piece.decode("utf-8", "replace"))
        yield Line(f"{attempt.number}-{stream}-{at}", moment, stream, text)
        at, last = at + len(piece) + 1, moment


@dataclass(frozen=True, slots=True)
class _Times:
    """When bytes came: each chunk's time; of what was sealed before the first, in proportion."""

    begun: datetime
    marks: Sequence[tuple[int, datetime]]

    def when(self, offset: int) -> datetime:
        first, at = self.marks[0]
        if offset < first:
            return self.begun + (at - self.begun) * (offset / first)
        return self.marks[bisect_right(self.marks, offset, key=lambda m: m[0]) - 1][1]


def _window(
    deps: Deps, principal: Principal, attempt: Attempt, stream: str
) -> tuple[int, bytes, _Times]:
    """Return offset and bytes of the stream's end, and the times of its bytes."""
    job_id, number = attempt.job_id, attempt.number
    size = logs.read_log(deps, principal, job_id, stream, number, 0, 1).size
    start = max(0, size - WINDOW)
    part = logs.read_log(deps, principal, job_id, stream, number, start, WINDOW)

    def load(tx: Tx) -> list[LogChunk]:
        return tx.streams.read_log(attempt.id, stream, start, WINDOW)

    chunks = deps.store.read(load) if part.data else []
    begun = attempt.started_at or attempt.leased_at
    marks = [(c.offset, c.at) for c in chunks] or [(max(size, 1), attempt.ended_at or begun)]
    return start, part.data, _Times(begun, marks)
