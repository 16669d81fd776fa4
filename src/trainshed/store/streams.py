"""Streams of an Attempt: chunk rows and packed points (D13). All offsets are checked here."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from trainshed.domain.artifact import BlobRef
from trainshed.domain.errors import Conflict, InvalidInput, NotFound, OffsetMismatch
from trainshed.ports.streams import LogChunk, Mark, Point, Sealed, StreamInfo
from trainshed.store import packing, sql
from trainshed.store.link import Link
from trainshed.store.mapping import micros, moment
from trainshed.store.tables import (
    latest_points,
    log_chunks,
    point_rows,
    sealed_parts,
    stream_heads,
)

#: The stream under which the points of an Attempt are counted.
METRICS = "metrics"
CHUNK = 64 * 1024

_HEAD = "SELECT size, truncated, sealed_to FROM stream_heads WHERE attempt_id = ? AND stream = ?"
_NEW_HEAD = sql.insert(stream_heads, tail="ON CONFLICT DO NOTHING")
_GROW = "UPDATE stream_heads SET size = ? WHERE attempt_id = ? AND stream = ?"
_CHUNK = sql.insert(log_chunks)
_POINTS = sql.insert(point_rows)
_LATEST = """
INSERT INTO latest_points (attempt_id, name, step, at_ms, value, n) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (attempt_id, name) DO UPDATE SET
    at_ms = CASE WHEN excluded.step >= latest_points.step
            THEN excluded.at_ms ELSE latest_points.at_ms END,
    value = CASE WHEN excluded.step >= latest_points.step
            THEN excluded.value ELSE latest_points.value END,
    step = CASE WHEN excluded.step >= latest_points.step
           THEN excluded.step ELSE latest_points.step END,
    n = latest_points.n + excluded.n
"""
_READ = (
    "SELECT start, at, data FROM log_chunks"
    " WHERE attempt_id = ? AND stream = ? AND start < ? AND start + length > ? AND start >= ?"
    " ORDER BY start"
)
_LAST = (
    "SELECT start, at, length FROM log_chunks WHERE attempt_id = ? AND stream = ?"
    " ORDER BY start DESC LIMIT 1"
)
_CHUNK_MARKS = (
    "SELECT start, at FROM log_chunks"
    " WHERE attempt_id = ? AND stream = ? AND start < ? AND start + length > ? AND start >= ?"
    " ORDER BY start"
)
_PART_MARKS = (
    "SELECT marks FROM sealed_parts"
    " WHERE attempt_id = ? AND stream = ? AND start < ? AND start + length > ? ORDER BY start"
)
_CAME_BY = "SELECT MAX(start) FROM log_chunks WHERE attempt_id = ? AND stream = ? AND at <= ?"
_PARTS_BACK = (
    "SELECT marks FROM sealed_parts WHERE attempt_id = ? AND stream = ? ORDER BY start DESC"
)
_DROP = "DELETE FROM log_chunks WHERE attempt_id = ? AND stream = ? AND start >= ? AND start < ?"
_SERIES = (
    "SELECT packed FROM point_rows WHERE attempt_id = ? AND name = ?"
    " AND last_step >= ? AND first_step <= ? ORDER BY start"
)
_AFTER = (
    "SELECT start, name, n, packed FROM point_rows"
    " WHERE attempt_id = ? AND start >= ? AND start < ? ORDER BY start, name"
)

_FORGET = tuple(
    " ".join(("DELETE FROM", table.name, "WHERE attempt_id = ?"))
    for table in (log_chunks, sealed_parts, point_rows, latest_points)
)
_FORGET_HEADS = "DELETE FROM stream_heads WHERE attempt_id = ?"


class SqlStreams:
    """``ports.streams.Streams`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def append_log(
        self, attempt_id: str, stream: str, offset: int, data: bytes, at: datetime
    ) -> int:
        """Append what is new, in rows of at most 64 KiB."""
        size = self._head(attempt_id, stream)[0]
        fresh = self._fresh(offset, len(data), size)
        if fresh >= len(data):
            return size
        stored = self._later(attempt_id, stream, micros(at))
        end = offset + len(data)
        for start in range(offset + fresh, end, CHUNK):
            piece = data[start - offset : start - offset + CHUNK]
            self._link.run(_CHUNK, (attempt_id, stream, start, len(piece), stored, piece))
            stored += piece.count(b"\n") + 1
        self._link.run(_GROW, (end, attempt_id, stream))
        return end

    def truncate(self, attempt_id: str, stream: str) -> None:
        """Mark that the rest was dropped."""
        self._head(attempt_id, stream)
        self._link.run(
            "UPDATE stream_heads SET truncated = 1 WHERE attempt_id = ? AND stream = ?",
            (attempt_id, stream),
        )

    def info(self, attempt_id: str) -> list[StreamInfo]:
        """One small row a stream; points are the stream ``metrics``."""
        rows = self._link.all(
            "SELECT stream, size, truncated, sealed_to FROM stream_heads WHERE attempt_id = ?"
            " ORDER BY stream",
            (attempt_id,),
        )
        return [StreamInfo(r[0], r[1], bool(r[2]), r[3]) for r in rows]

    def read_log(self, attempt_id: str, stream: str, offset: int, limit: int) -> list[LogChunk]:
        """Return chunks cut to the range."""
        end = offset + limit
        out = []
        values = (attempt_id, stream, end, offset, offset - CHUNK)
        for start, at, data in self._link.all(_READ, values):
            low, high = max(0, offset - start), min(len(data), end - start)
            piece = data if low == 0 and high == len(data) else data[low:high]
            out.append(LogChunk(start + low, moment(at), bytes(piece)))
        return out

    def marks(self, attempt_id: str, stream: str, offset: int, limit: int) -> list[Mark]:
        """Those of sealed parts and of chunks."""
        end, found = offset + limit, []
        for (packed,) in self._link.all(_PART_MARKS, (attempt_id, stream, end, offset)):
            found += packing.unpack_marks(packed)
        rows = self._link.all(_CHUNK_MARKS, (attempt_id, stream, end, offset, offset - CHUNK))
        found += [(start, at) for start, at in rows]
        first = max(bisect_right(found, (offset, packing.INT64_MAX)) - 1, 0)
        return [Mark(start, moment(at)) for start, at in found[first:] if start < end]

    def came_by(self, attempt_id: str, stream: str, at: datetime) -> int:
        """Look in the chunks, then in the parts, newest first."""
        until = micros(at)
        start = self._link.scalar(_CAME_BY, (attempt_id, stream, until))
        if start is not None:
            return int(start)
        for (packed,) in self._link.all(_PARTS_BACK, (attempt_id, stream)):
            found = packing.unpack_marks(packed)
            by = [start for start, came in found if came <= until]
            if by:
                return by[-1]
        return 0

    def sealed(self, attempt_id: str, stream: str) -> list[Sealed]:
        """In order."""
        rows = self._link.all(
            "SELECT start, length, md5, sha256, size_bytes FROM sealed_parts"
            " WHERE attempt_id = ? AND stream = ? ORDER BY start",
            (attempt_id, stream),
        )
        return [Sealed(r[0], r[1], BlobRef(r[2], r[3], r[4])) for r in rows]

    def seal(self, attempt_id: str, stream: str, part: Sealed) -> None:
        """Swap rows for an index row; a chunk that reaches beyond the part keeps its rest.

        Raises:
            Conflict: the part does not begin where sealing stopped, or ends beyond the log.
        """
        size, _, sealed_to = self._head(attempt_id, stream)
        end = part.offset + part.length
        if part.offset != sealed_to or part.length <= 0 or end > size:
            raise Conflict(f"The next part to seal begins at {sealed_to} and ends by {size}.")
        rest = self.read_log(attempt_id, stream, end, CHUNK)[:1]
        self._link.run(_DROP, (attempt_id, stream, part.offset, end))
        if rest and not self._starts(attempt_id, stream, end):
            self._keep(attempt_id, stream, rest[0])
        self._index(attempt_id, stream, part)
        self._link.run(
            "UPDATE stream_heads SET sealed_to = ? WHERE attempt_id = ? AND stream = ?",
            (end, attempt_id, stream),
        )

    def forget(self, attempt_id: str) -> bool:
        """Remove all of an Attempt; False if there was nothing."""
        for statement in _FORGET:
            self._link.run(statement, (attempt_id,))
        return self._link.run(_FORGET_HEADS, (attempt_id,)) > 0

    def append_points(self, attempt_id: str, offset: int, points: Sequence[Point]) -> int:
        """Pack what is new, one row for each key."""
        size = self._head(attempt_id, METRICS)[0]
        fresh = self._fresh(offset, len(points), size)
        if fresh >= len(points):
            return size
        if fresh:
            points = points[fresh:]
        rows, newest = packing.pack(attempt_id, offset + fresh, points)
        self._link.many(_POINTS, rows)
        self._link.many(_LATEST, newest)
        end = offset + fresh + len(points)
        self._link.run(_GROW, (end, attempt_id, METRICS))
        return end

    def latest(self, attempt_ids: Sequence[str]) -> dict[str, dict[str, Point]]:
        """The newest point of each key; ids without points are absent."""
        out: dict[str, dict[str, Point]] = {}
        for i in range(0, len(attempt_ids), 500):
            part = attempt_ids[i : i + 500]
            query = (
                "SELECT attempt_id, name, step, at_ms, value FROM latest_points WHERE",
                sql.inside("attempt_id", len(part)),
            )
            for attempt_id, name, step, at_ms, value in self._link.all(" ".join(query), part):
                point = Point(name, step, at_ms, packing.number(value))
                out.setdefault(attempt_id, {})[name] = point
        return out

    def series(
        self, attempt_id: str, key: str, first_step: int | None, last_step: int | None
    ) -> list[Point]:
        """Unpack one key."""
        low = packing.INT64_MIN if first_step is None else first_step
        high = packing.INT64_MAX if last_step is None else last_step
        out: list[Point] = []
        for (packed,) in self._link.all(_SERIES, (attempt_id, key, low, high)):
            out.extend(packing.unpack(key, packed))
        if first_step is not None or last_step is not None:
            return [p for p in out if low <= p.step <= high]
        return out

    def points_after(self, attempt_id: str, offset: int, limit: int) -> tuple[list[Point], int]:
        """Whole appends from ``offset`` on, key by key within one append."""
        out: list[Point] = []
        end = offset
        values = (attempt_id, offset, offset + max(limit, 1))
        for _start, name, n, packed in self._link.all(_AFTER, values):
            out.extend(packing.unpack(name, packed))
            end += n
        return out, end

    def n_points(self, attempt_id: str, key: str) -> int:
        """Counted beside the newest point."""
        query = "SELECT n FROM latest_points WHERE attempt_id = ? AND name = ?"
        return int(self._link.scalar(query, (attempt_id, key)) or 0)

    def _head(self, attempt_id: str, stream: str) -> tuple[int, int, int]:
        """Return (size, truncated, sealed_to), making the row at first use; locked on
        PostgreSQL.
        """
        query = _HEAD + self._link.for_update
        row = self._link.one(query, (attempt_id, stream))
        if row is None:
            owner = self._link.scalar("SELECT account_id FROM attempts WHERE id = ?", (attempt_id,))
            if owner is None:
                raise NotFound("There is no attempt with that id.")
            self._link.run(_NEW_HEAD, (attempt_id, stream, owner, 0, 0, 0))
            row = self._link.one(query, (attempt_id, stream)) or (0, 0, 0)
        return row[0], row[1], row[2]

    def _later(self, attempt_id: str, stream: str, at: int) -> int:
        """Return ``at``, or later if the lines of the last chunk reach beyond it."""
        last = self._link.one(_LAST, (attempt_id, stream))
        if last is None or at > last[1] + last[2]:
            return at
        data = self._link.scalar(
            "SELECT data FROM log_chunks WHERE attempt_id = ? AND stream = ? AND start = ?",
            (attempt_id, stream, last[0]),
        )
        return max(at, int(last[1]) + bytes(data).count(b"\n") + 1)

    def _fresh(self, offset: int, length: int, size: int) -> int:
        """Return how much of the chunk is already there."""
        if offset < 0:
            raise InvalidInput("offset must be at least 0.", field="offset")
        if offset > size:
            raise OffsetMismatch(f"The stream ends at {size}; continue from there.", next=size)
        return min(size - offset, length)

    def _starts(self, attempt_id: str, stream: str, start: int) -> bool:
        query = "SELECT 1 FROM log_chunks WHERE attempt_id = ? AND stream = ? AND start = ?"
        return self._link.one(query, (attempt_id, stream, start)) is not None

    def _keep(self, attempt_id: str, stream: str, rest: LogChunk) -> None:
        stored = micros(rest.at)
        row = (attempt_id, stream, rest.offset, len(rest.data), stored, rest.data)
        self._link.run(_CHUNK, row)

    def _index(self, attempt_id: str, stream: str, part: Sealed) -> None:
        owner = "SELECT account_id FROM stream_heads WHERE attempt_id = ? AND stream = ?"
        account_id = self._link.scalar(owner, (attempt_id, stream))
        blob = part.blob
        self._link.run(
            sql.insert(sealed_parts),
            (
                attempt_id, stream, part.offset, part.length, account_id, blob.md5, blob.sha256,
                blob.size_bytes, packing.pack_marks([(m.offset, micros(m.at)) for m in part.marks]),
            ),
        )  # fmt: skip
