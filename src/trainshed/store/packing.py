"""Points as columns of bytes: step i64, at_ms i64, value f64, little-endian, one after the other.

NaN and infinities keep their bits (a REAL column of SQLite would turn NaN into NULL).
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence

from trainshed.domain.errors import InvalidInput
from trainshed.ports.streams import Point
from trainshed.store.link import Row

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
WIDTH = 24
_DOUBLE = struct.Struct("<d")
_BIG = sys.byteorder == "big"


def pack(attempt_id: str, start: int, points: Sequence[Point]) -> tuple[list[Row], list[Row]]:
    """Return rows of ``point_rows`` and of ``latest_points`` for one append.

    Raises:
        InvalidInput: a step or time does not fit 64 bits.
    """
    groups: dict[str, list[Point]] = {}
    for point in points:
        group = groups.get(point.key)
        if group is None:
            groups[point.key] = [point]
        else:
            group.append(point)
    rows: list[Row] = []
    newest: list[Row] = []
    try:
        for name, group in groups.items():
            row, last = _pack_one(attempt_id, name, start, group)
            rows.append(row)
            newest.append(last)
    except (OverflowError, TypeError) as error:
        raise InvalidInput("step and at_ms must be 64-bit integers.", field="points") from error
    return rows, newest


def _pack_one(attempt_id: str, name: str, start: int, group: list[Point]) -> tuple[Row, Row]:
    steps = array("q", [p.step for p in group])
    times = array("q", [p.at_ms for p in group])
    values = array("d", [p.value for p in group])
    first, last = min(steps), max(steps)
    at = len(group) - 1
    if steps[at] != last:
        at = max(i for i, step in enumerate(steps) if step == last)
    newest = (attempt_id, name, last, times[at], _DOUBLE.pack(values[at]), len(group))
    columns = (steps, times, values)
    if _BIG:
        for column in columns:
            column.byteswap()
    packed = b"".join(column.tobytes() for column in columns)
    return (attempt_id, name, start, len(group), first, last, packed), newest


def unpack(name: str, packed: bytes) -> list[Point]:
    """Return the points of one row, in the order they were logged."""
    n = len(packed) // WIDTH
    steps, times, values = array("q"), array("q"), array("d")
    steps.frombytes(packed[: 8 * n])
    times.frombytes(packed[8 * n : 16 * n])
    values.frombytes(packed[16 * n :])
    if _BIG:
        for column in (steps, times, values):
            column.byteswap()
    return [Point(name, *row) for row in zip(steps, times, values, strict=True)]


def number(packed: bytes) -> float:
    """Return one packed double."""
    value: float = _DOUBLE.unpack(packed)[0]
    return value


def pack_marks(found: Sequence[tuple[int, int]]) -> bytes | None:
    """Return (offset, microseconds) pairs as compressed bytes; None for none."""
    flat = array("q", (number for pair in found for number in pair))
    if _BIG:
        flat.byteswap()
    return zlib.compress(flat.tobytes()) if found else None


def unpack_marks(packed: bytes | None) -> list[tuple[int, int]]:
    """Return what ``pack_marks`` was given."""
    if packed is None:
        return []
    flat = array("q", zlib.decompress(packed))
    if _BIG:
        flat.byteswap()
    return list(zip(flat[::2], flat[1::2], strict=True))
