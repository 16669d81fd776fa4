"""FlatBuffers read with every offset checked: any bytes give values or `BadModel`, never harm.

The schema of a model has no recursion and its offsets point forwards, so reading ends. What is read
is paid from a budget in proportion to the file, so that many entries which point at the same place
cost no more than an honest file of that size.
"""

from __future__ import annotations

import struct
from typing import Any

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
#: Name -> (struct letter, bytes).
SCALARS = {
    "bool": ("?", 1), "i8": ("b", 1), "u8": ("B", 1), "i32": ("i", 4), "u32": ("I", 4),
    "i64": ("q", 8), "u64": ("Q", 8), "f32": ("f", 4),
}  # fmt: skip
_BUDGET_FACTOR = 4
_BUDGET_FLOOR = 65536
#: Entries of one list of tables or of numbers.
MAX_ENTRIES = 20_000


class BadModel(ValueError):
    """The bytes are no model that can be read. ``code`` is stable; the text says what and where."""

    def __init__(self, message: str, code: str = "invalid_model", operator: int = -1) -> None:
        super().__init__(message)
        self.code = code
        self.operator = operator


class Source:
    """The bytes of a file, and how much may still be read of them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = _BUDGET_FACTOR * len(data) + _BUDGET_FLOOR

    def need(self, at: int, n_bytes: int, what: str) -> None:
        """Check that ``n_bytes`` at ``at`` lie in the file, and pay for them."""
        if at < 0 or at + n_bytes > len(self.data):
            raise BadModel(
                f"The {what} lies outside of the file: {n_bytes} bytes at offset {at} of "
                f"{len(self.data)}."
            )
        self._left -= n_bytes
        if self._left < 0:
            raise BadModel(f"Parts of the file overlap without end; last was the {what}.")

    def follow(self, at: int, what: str) -> int:
        """Return where the forward offset stored at ``at`` leads."""
        self.need(at, 4, what)
        offset: int = _U32.unpack_from(self.data, at)[0]
        if not offset:
            raise BadModel(f"The offset of the {what} at {at} is 0.")
        return at + offset

    def span(self, at: int, width: int, what: str) -> tuple[int, int]:
        """Return (first byte, length) of the vector at ``at`` with elements of ``width`` bytes."""
        self.need(at, 4, what)
        n: int = _U32.unpack_from(self.data, at)[0]
        self.need(at + 4, n * width, f"{what} ({n} entries)")
        return at + 4, n


class Table:
    """A table of the file; ``slot`` is a field's number in the schema, ``what`` names it."""

    __slots__ = ("_fields", "_n_fields", "at", "size", "source", "what")

    def __init__(self, source: Source, at: int, what: str) -> None:
        self.source, self.at, self.what = source, at, what
        source.need(at, 4, what)
        fields = at - _I32.unpack_from(source.data, at)[0]
        source.need(fields, 4, f"field list of the {what}")
        n, self.size = struct.unpack_from("<HH", source.data, fields)
        if n < 4 or n % 2 or self.size < 4:
            raise BadModel(f"The field list of the {what} at {fields} is broken.")
        source.need(fields, n, f"field list of the {what}")
        source.need(at, self.size, what)
        self._fields, self._n_fields = fields + 4, n // 2 - 2

    def place(self, slot: int, width: int) -> int:
        """Return where the field lies in the file, or 0 where it is absent."""
        if slot >= self._n_fields:
            return 0
        offset: int = _U16.unpack_from(self.source.data, self._fields + 2 * slot)[0]
        if not offset:
            return 0
        if offset < 4 or offset + width > self.size:
            raise BadModel(f"Field {slot} of the {self.what} lies outside of it.")
        return self.at + offset

    def scalar(self, slot: int, kind: str, default: Any) -> Any:
        """Return the number or truth value; ``default`` where it is absent."""
        letter, width = SCALARS[kind]
        at = self.place(slot, width)
        return struct.unpack_from(f"<{letter}", self.source.data, at)[0] if at else default

    def table(self, slot: int, what: str) -> Table | None:
        """Return the table that the field points at, or None."""
        at = self.place(slot, 4)
        return Table(self.source, self.source.follow(at, what), what) if at else None

    def span(self, slot: int, width: int, what: str) -> tuple[int, int]:
        """Return (first byte, length) of the vector; (0, 0) where it is absent."""
        at = self.place(slot, 4)
        return self.source.span(self.source.follow(at, what), width, what) if at else (0, 0)

    def _list(self, slot: int, width: int, what: str) -> tuple[int, int]:
        at, n = self.span(slot, width, what)
        if n > MAX_ENTRIES:
            raise BadModel(f"The {what} has {n} entries; at most {MAX_ENTRIES} are read.")
        return at, n

    def numbers(self, slot: int, kind: str, what: str) -> tuple[Any, ...]:
        """Return the vector of numbers; empty where it is absent."""
        letter, width = SCALARS[kind]
        at, n = self._list(slot, width, what)
        return struct.unpack_from(f"<{n}{letter}", self.source.data, at)

    def tables(self, slot: int, what: str) -> list[Table]:
        """Return the vector of tables; empty where it is absent."""
        at, n = self._list(slot, 4, f"list of {what}s")
        source = self.source
        return [
            Table(source, source.follow(at + 4 * i, f"{what} {i}"), f"{what} {i}") for i in range(n)
        ]

    def text(self, slot: int, what: str, most: int = 256) -> str:
        """Return the string, at most ``most`` characters; empty where it is absent.

        It is a stranger's, and is shown: what does not print becomes a question mark.
        """
        at, n = self.span(slot, 1, what)
        text = self.source.data[at : at + min(n, 4 * most)].decode("utf-8", "replace")[:most]
        return "".join(c if c.isprintable() else "?" for c in text)
