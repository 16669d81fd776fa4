"""Streams of an Attempt: logs by byte offset, metrics by point ordinal (law 9, D13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trainshed.domain.artifact import BlobRef

LOG_STREAMS = ("stdout", "stderr", "system")


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value. ``value`` may be NaN or infinite; ``at_ms`` is Unix milliseconds."""

    key: str
    step: int
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes ``[offset, offset + len(data))`` of a log stream, stored at ``at``."""

    offset: int
    at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """The bytes from ``offset`` up to the next mark came together, at ``at``."""

    offset: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Bucket:
    """A down-sampled stretch of a series: extremes and where they are; counts of what is no
    number.
    """

    step: int
    at_ms: int
    minimum: float
    maximum: float
    last: float
    n: int
    n_nan: int = 0
    n_inf: int = 0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """``size``: bytes or points stored. ``sealed_to``: bytes already moved into blobs."""

    stream: str
    size: int
    truncated: bool
    sealed_to: int = 0


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stretch of a log that lives compressed (zlib) in a blob. ``marks`` say when its bytes came;
    they are written with it, and read by ``Streams.marks`` only.
    """

    offset: int
    length: int
    blob: BlobRef
    marks: Sequence[Mark] = ()


class Streams(Protocol):
    """All offsets are checked here; a chunk sent twice lands once."""

    def append_log(
        self, attempt_id: str, stream: str, offset: int, data: bytes, at: datetime
    ) -> int:
        """Append what is new of the chunk; return the offset the stream now ends at. It is marked
        later than each line before it: a line counts as a microsecond.

        Raises:
            OffsetMismatch: the chunk begins beyond the end; ``extra['next']`` is the end.
        """

    def truncate(self, attempt_id: str, stream: str) -> None:
        """Mark that the rest was dropped."""

    def info(self, attempt_id: str) -> list[StreamInfo]: ...
    def read_log(self, attempt_id: str, stream: str, offset: int, limit: int) -> list[LogChunk]:
        """Return unsealed chunks that overlap ``[offset, offset + limit)``, cut to it, in order."""

    def marks(self, attempt_id: str, stream: str, offset: int, limit: int) -> list[Mark]:
        """When the bytes ``[offset, offset + limit)`` came, in order; the first mark is not behind
        ``offset``. What an earlier version sealed has none.
        """

    def came_by(self, attempt_id: str, stream: str, at: datetime) -> int:
        """Return the offset of the last mark not later than ``at``; 0 if there is none."""

    def sealed(self, attempt_id: str, stream: str) -> list[Sealed]: ...
    def seal(self, attempt_id: str, stream: str, part: Sealed) -> None:
        """Swap the rows of ``part`` for its index row."""

    def forget(self, attempt_id: str) -> bool:
        """Remove all streams of an Attempt; False if there were none. Blobs are swept later."""

    def append_points(self, attempt_id: str, offset: int, points: Sequence[Point]) -> int:
        """As ``append_log``, counting points of the Attempt; also updates ``latest``."""

    def latest(self, attempt_ids: Sequence[str]) -> dict[str, dict[str, Point]]:
        """Attempt id -> key -> the newest point by step."""

    def series(
        self, attempt_id: str, key: str, first_step: int | None, last_step: int | None
    ) -> list[Point]:
        """All points of one key in the order they were logged."""

    def points_after(self, attempt_id: str, offset: int, limit: int) -> tuple[list[Point], int]:
        """Return points of every key from ordinal ``offset`` on, in the order they were appended
        (about ``limit``; whole appends), and the ordinal to go on from."""

    def n_points(self, attempt_id: str, key: str) -> int:
        """How many points of one key are stored."""
