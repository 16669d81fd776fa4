"""Models changed by patching: new lists are put behind the file and the old offsets pointed there.

An offset of a FlatBuffer leads forwards only, so whatever a new list needs is written after it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from trainshed.workloads.board.model.flatbuffer import BadModel, Table
from trainshed.workloads.board.model.reader import buffer_span, first_subgraph, root

_ALIGNMENT = 16
_DEPRECATED_LIMIT = 127


def portable(data: bytes) -> bytes:
    """Return the same model so that every reader sees the same: for the reference.

    Weights behind the FlatBuffer come inside, operator codes of old files are completed, unknown
    dimensions become 1. TensorFlow Lite Micro ignores the first of these without a word.

    Raises:
        BadModel: as `read`.
    """
    model = root(data)
    out = bytearray(data)
    buffers = model.tables(4, "buffer")
    if any(_outside(buffer) for buffer in buffers):
        _point(out, model, 4, _append_buffers(out, data, buffers))
    codes = model.tables(1, "operator code")
    if any(_number(code) != code.scalar(3, "i32", 0) for code in codes):
        _point(out, model, 1, _append_codes(out, codes))
    for tensor in first_subgraph(model).tables(0, "tensor"):
        at, n = tensor.span(0, 4, "shape")
        for i, dim in enumerate(struct.unpack_from(f"<{n}i", data, at)):
            if dim == -1:
                struct.pack_into("<i", out, at + 4 * i, 1)
    return bytes(out)


def _outside(buffer: Table) -> bool:
    return buffer.span(0, 1, "data")[1] == 0 and buffer_span(buffer)[1] > 0


def _number(code: Table) -> int:
    number: int = max(code.scalar(0, "i8", 0), code.scalar(3, "i32", 0))
    return number


def _point(out: bytearray, table: Table, slot: int, at: int) -> None:
    """Let a field lead to what lies at ``at``."""
    place = table.place(slot, 4)
    if not place:
        raise BadModel(f"The {table.what} has no field {slot}.")
    struct.pack_into("<I", out, place, at - place)


def _align(out: bytearray, before: int = 0) -> int:
    """Pad so that what follows ``before`` more bytes is aligned; return the length."""
    out += bytes(-(len(out) + before) % _ALIGNMENT)
    return len(out)


def _append_list(out: bytearray, n: int) -> int:
    """Append room for ``n`` offsets; return where the list begins."""
    at = _align(out)
    out += struct.pack("<I", n) + bytes(4 * n)
    return at


def _enter(out: bytearray, at: int, i: int, table: int) -> None:
    place = at + 4 + 4 * i
    struct.pack_into("<I", out, place, table - place)


def _append_buffers(out: bytearray, data: bytes, buffers: Sequence[Table]) -> int:
    at = _append_list(out, len(buffers))
    fields = _align(out)
    # Field lists: of a table with one offset, and of an empty one.
    out += struct.pack("<3H", 6, 8, 4) + bytes(2) + struct.pack("<2H", 4, 4)
    for i, buffer in enumerate(buffers):
        first, end = buffer_span(buffer)
        table = _align(out, before=12)
        _enter(out, at, i, table)
        if first == end:
            out += struct.pack("<i", table - (fields + 8))
        else:
            out += struct.pack("<iI", table - fields, 4)
            out += struct.pack("<I", end - first) + data[first:end]
    return at


def _append_codes(out: bytearray, codes: Sequence[Table]) -> int:
    at = _append_list(out, len(codes))
    fields = _align(out)
    # Field lists: number, name, version, number; and the same without a name.
    out += struct.pack("<6H", 12, 20, 4, 8, 12, 16) + struct.pack("<6H", 12, 20, 4, 0, 12, 16)
    for i, code in enumerate(codes):
        name = code.text(1, "name").encode()
        table = _align(out)
        _enter(out, at, i, table)
        number = _number(code)
        out += struct.pack(
            "<ibxxxIii", table - (fields if name else fields + 12), min(number, _DEPRECATED_LIMIT),
            12 if name else 0, code.scalar(2, "i32", 1), number,
        )  # fmt: skip
        if name:
            out += struct.pack("<I", len(name)) + name + b"\0"
    return at
