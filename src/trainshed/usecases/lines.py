"""A Job's log as lines with times: every stream of every Attempt in the order of time.

It is read forward in windows, a page at a time, however long it is. A page ends at a position in
every stream, which is where the next one goes on: what comes later is never passed over, in
whatever order the streams arrive.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import InvalidInput
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.streams import LOG_STREAMS, Mark
from trainshed.usecases import logs
from trainshed.usecases.queries import owned

#: A page ends after so many lines, or so many bytes of them.
MAX_LINES = 10_000
MAX_BYTES = 4 * 1024**2
#: How much of a stream is in memory at once, and how much of the end ``newest`` looks at.
WINDOW = 1024**2
#: A line longer than this comes in pieces.
LONG = 64 * 1024
MAX_TEXT = 16 * 1024

_MICRO = timedelta(microseconds=1)
_CURSOR = re.compile(r"\d{1,9}(\.\d{1,18}){3}\Z", re.ASCII)
#: Control sequences of terminals, and other controls but tab: nothing of a job may steer one.
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.?"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``id`` is its Attempt, stream and byte offset; ``end`` is the offset after it.

    ``at`` is when the server got it, moved by microseconds so that lines that came together keep
    their order. Neither ever changes.
    """

    id: str
    at: datetime
    stream: str
    text: str
    end: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, oldest first; ``cursor`` goes on after them, ``more``: there are some already."""

    lines: list[Line]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Reader:
    deps: Deps
    principal: Principal
    attempt: Attempt

    def merged(self, offsets: Mapping[str, int]) -> Iterator[Line]:
        """Yield the lines of all streams, each from its offset on, in the order of time."""
        streams = [self.lines(name, offsets[name]) for name in LOG_STREAMS]
        return heapq.merge(*streams, key=lambda one: (one.at, one.stream))

    def lines(self, stream: str, offset: int) -> Iterator[Line]:
        """Yield lines from ``offset`` on, where one begins. The unfinished last line of what runs
        is left for the next time.
        """
        times, carry = self._times(stream, offset), b""
        while part := self._bytes(stream, offset + len(carry), WINDOW):
            carry += part
            times.learn(self._marks(stream, offset, len(carry)))
            used = 0
            for size, ended in _pieces(carry):
                yield self._line(stream, offset + used, carry[used : used + size], times, ended)
                used += size
            offset, carry = offset + used, carry[used:]
        if carry and not self.attempt.live:
            yield self._line(stream, offset, carry, times, ended=False)

    def _line(self, stream: str, offset: int, piece: bytes, times: _Times, ended: bool) -> Line:
        text = plain(piece.removesuffix(b"\n").decode("utf-8", "replace"))
        id_ = f"{self.attempt.number}-{stream}-{offset}"
        return Line(id_, times.of(offset, ended), stream, text, offset + len(piece))

    def sizes(self) -> dict[str, int]:
        """Return how long each stream is."""
        found = self.deps.store.read(lambda tx: tx.streams.info(self.attempt.id))
        return {one.stream: one.size for one in found}

    def since(self, stream: str, at: datetime) -> int:
        """Return where a line begins, before the first one that is later than ``at``."""
        load = lambda tx: tx.streams.came_by(self.attempt.id, stream, at)  # noqa: E731
        return self.begins(stream, self.deps.store.read(load))

    def begins(self, stream: str, offset: int) -> int:
        """Return where the first line begins that does so at ``offset`` or behind it."""
        if offset <= 0:
            return 0
        found = self._bytes(stream, offset - 1, WINDOW).find(b"\n")
        return offset + max(found, 0)  # within an endless line: one of its pieces

    def _bytes(self, stream: str, offset: int, limit: int) -> bytes:
        one = self.attempt
        return logs.read_log(
            self.deps, self.principal, one.job_id, stream, one.number, offset, limit
        ).data

    def _marks(self, stream: str, offset: int, limit: int) -> list[Mark]:
        return self.deps.store.read(
            lambda tx: tx.streams.marks(self.attempt.id, stream, offset, limit)
        )

    def _times(self, stream: str, offset: int) -> _Times:
        """Return the times of lines from ``offset`` on: it counts those of its chunk before it."""
        times = _Times(self.attempt.started_at or self.attempt.leased_at)
        marks = self._marks(stream, offset, 1)
        times.learn(marks)
        if marks and marks[0].offset < offset:
            before = self._bytes(stream, marks[0].offset, offset - marks[0].offset)
            times.rank = before.count(b"\n")
            times.mark = marks[0]
        return times


class _Times:
    """When lines came: a chunk's time, and a microsecond for each line of it before."""

    def __init__(self, begun: datetime) -> None:
        self._begun = begun
        self._marks: Sequence[Mark] = ()
        self._ended = True  # whether the piece before this one ended its line
        self.mark: Mark | None = None
        self.rank = 0

    def learn(self, marks: Sequence[Mark]) -> None:
        """Take the marks of what is read now."""
        self._marks = marks

    def of(self, offset: int, ended: bool) -> datetime:
        """Return the time of the next piece; they are asked for in order."""
        index = bisect_right(self._marks, offset, key=lambda m: m.offset) - 1
        if index < 0:  # sealed by a version that kept no times
            return self._begun + offset * _MICRO
        mark = self._marks[index]
        if mark != self.mark:
            # Of the bytes between the mark and this line only the last one ends a line.
            self.rank = int(offset > mark.offset and self._ended)
            self.mark = mark
        at = mark.at + self.rank * _MICRO
        self.rank, self._ended = self.rank + ended, ended
        return at


def _pieces(data: bytes) -> Iterator[tuple[int, bool]]:
    """Yield the sizes of the whole lines that ``data`` begins with, and whether each ends there:
    of a very long line all pieces but the last do not.
    """
    start = 0
    while True:
        end = data.find(b"\n", start, start + LONG + 1)
        if end >= 0:
            yield end + 1 - start, True
            start = end + 1
        elif len(data) - start > LONG:
            yield LONG, False
            start += LONG
        else:
            return


def page(
    deps: Deps, principal: Principal, job_id: str, after: str = "", since: datetime | None = None
) -> Page:
    """Return the lines behind a cursor, oldest first; "" is the beginning. ``since``: later ones
    only.

    Raises:
        InvalidInput: this is no cursor. NotFound: there is no such Job.
    """
    number, offsets = _parsed(after)
    lines: list[Line] = []
    left = MAX_BYTES
    for attempt in _attempts(deps, principal, job_id):
        if attempt.number < number:
            continue
        reader = _Reader(deps, principal, attempt)
        if attempt.number > number:
            number = attempt.number
            offsets = {s: reader.since(s, since) if since else 0 for s in LOG_STREAMS}
        for line in reader.merged(dict(offsets)):
            if len(lines) == MAX_LINES or left <= 0:
                return Page(lines, _cursor(number, offsets), True)
            offsets[line.stream] = line.end
            if since is None or line.at > since:
                lines.append(line)
                left -= len(line.text) + len(line.id)
    return Page(lines, _cursor(number, offsets), False)


def newest(
    deps: Deps, principal: Principal, job_id: str, n: int, since: datetime | None = None
) -> list[Line]:
    """Return the last ``n`` lines (of the last MiB of each stream of an Attempt), oldest first;
    those after ``since`` only.
    """
    out: list[Line] = []
    for attempt in reversed(_attempts(deps, principal, job_id)):
        reader = _Reader(deps, principal, attempt)
        sizes = reader.sizes()
        begin = {s: reader.begins(s, sizes.get(s, 0) - WINDOW) for s in LOG_STREAMS}
        out = [x for x in reader.merged(begin) if since is None or x.at > since] + out
        if len(out) >= n:
            break
    return out[len(out) - n :] if n < len(out) else out


def plain(text: str) -> str:
    """Return what a terminal would show of a line: after its last carriage return, no controls."""
    shown = [part for part in text.rstrip("\r").split("\r") if part]
    return _CONTROL.sub("", shown[-1])[:MAX_TEXT] if shown else ""


def _attempts(deps: Deps, principal: Principal, job_id: str) -> list[Attempt]:
    def load(tx: Tx) -> list[Attempt]:
        owned(tx, principal, job_id)
        return tx.attempts.of_job(job_id)

    return deps.store.read(load)


def _parsed(cursor: str) -> tuple[int, dict[str, int]]:
    if not cursor:
        return 0, dict.fromkeys(LOG_STREAMS, 0)
    if not _CURSOR.match(cursor):
        raise InvalidInput("after must be what an earlier answer had as next.", field="after")
    number, *offsets = map(int, cursor.split("."))
    return number, dict(zip(LOG_STREAMS, offsets, strict=True))


def _cursor(number: int, offsets: Mapping[str, int]) -> str:
    return ".".join(map(str, (number, *(offsets[name] for name in LOG_STREAMS))))
