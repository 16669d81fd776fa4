"""A FlatBuffer from plain Python values. An offset leads forwards, so a table comes before what it
refers to.

    table   {slot: value}; a scalar is (struct format, number)
    vector  list of tables, numpy array, bytes, str
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

Table = dict[int, Any]
_ALIGNMENT = 16


def flatbuffer(root: Table, identifier: bytes) -> bytes:
    """Return the file whose root table is ``root``."""
    out = bytearray(4) + identifier
    struct.pack_into("<I", out, 0, _append(out, root))
    return bytes(out)


def _append(out: bytearray, value: Any) -> int:
    """Append a value and all it refers to; return where it begins."""
    if isinstance(value, dict):
        return _append_table(out, value)
    if isinstance(value, list):
        return _append_tables(out, value)
    return _append_vector(out, value)


def _append_table(out: bytearray, fields: Table) -> int:
    places = [0] * (max(fields, default=-1) + 1)
    body = bytearray(4)
    for slot, value in fields.items():
        scalar = isinstance(value, tuple)
        raw = struct.pack(f"<{value[0]}", value[1]) if scalar else bytes(4)
        body += bytes(-len(body) % len(raw))
        places[slot] = len(body)
        body += raw
    layout = struct.pack(f"<{len(places) + 2}H", 4 + 2 * len(places), len(body), *places)
    out += bytes(-(len(out) + len(layout)) % _ALIGNMENT)
    out += layout
    start = len(out)
    struct.pack_into("<i", body, 0, len(layout))
    out += body
    for slot, value in fields.items():
        if not isinstance(value, tuple):
            _point(out, start + places[slot], value)
    return start


def _append_tables(out: bytearray, tables: list[Table]) -> int:
    out += bytes(-len(out) % _ALIGNMENT)
    start = len(out)
    out += struct.pack("<I", len(tables)) + bytes(4 * len(tables))
    for n, table in enumerate(tables):
        _point(out, start + 4 + 4 * n, table)
    return start


def _append_vector(out: bytearray, value: bytes | str | np.ndarray) -> int:
    raw = value.encode() if isinstance(value, str) else bytes(value)
    n = value.size if isinstance(value, np.ndarray) else len(raw)
    out += bytes(-(len(out) + 4) % _ALIGNMENT)
    start = len(out)
    out += struct.pack("<I", n) + raw + b"\0"
    return start


def _point(out: bytearray, place: int, value: Any) -> None:
    struct.pack_into("<I", out, place, _append(out, value) - place)
