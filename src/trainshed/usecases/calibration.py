"""A calibration set that somebody sends: looked at without unpacking it, before a run is taken.

What is in it is read in the Job; here only what costs nothing is looked at: whether it is an
archive of plain arrays and not too much, and what their headers say.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
import zlib

from trainshed.domain.errors import InvalidInput
from trainshed.ports.boards import Arrays

MAX_ARRAYS = 64
MAX_UNPACKED_BYTES = 256 * 2**20
HEADER_BYTES = 1024
MAX_NAME = 100
MAGIC = b"\x93NUMPY"
_ADVICE = "Write it with numpy.savez(path, NAME=array), an array of samples per input."
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError,
    NotImplementedError, SyntaxError, MemoryError, LookupError, TypeError,
)  # fmt: skip
#: numpy's name of a type: its byte order, its kind, its bytes.
_KIND = re.compile(r"[<>|=]([a-zA-Z])\d*\Z")


def arrays_of(data: bytes) -> Arrays:
    """Return the names, kinds and shapes of the arrays in an ``.npz``.

    Raises:
        InvalidInput: it is none of plain numbers, of a bearable size.
    """
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if not 1 <= len(entries) <= MAX_ARRAYS:
                raise _refused(f"has {len(entries)} arrays; 1 to {MAX_ARRAYS} are taken")
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MAX_UNPACKED_BYTES:
                raise _refused(
                    f"unpacks to {unpacked} bytes; at most {MAX_UNPACKED_BYTES} are taken"
                )
            for entry in entries:
                with archive.open(entry) as file:
                    head = file.read(HEADER_BYTES)
                if not entry.filename.endswith(".npy") or not head.startswith(MAGIC):
                    raise _refused("is no .npz file")
                if len(entry.filename) > MAX_NAME:
                    raise _refused(f"has an array whose name is longer than {MAX_NAME}")
                if b"|O" in head.partition(b"}")[0]:
                    raise _refused("holds objects, not numbers")
                found[entry.filename.removesuffix(".npy")] = _header(head)
    except _BROKEN as error:
        raise _refused("is no .npz file") from error
    return found


def _header(head: bytes) -> tuple[str, tuple[int, ...]]:
    """Return kind and dimensions of an array by numpy's format: a Python literal after magic,
    version and length. Raises ValueError.
    """
    size = 2 if head[6] == 1 else 4
    start = len(MAGIC) + 2 + size
    length = int.from_bytes(head[start - size : start], "little")
    text = head[start : start + length].decode("latin-1")
    if len(text) != length:
        raise ValueError("a header that long is of no plain numbers")
    values = ast.literal_eval(text.strip())
    kind, dims = _KIND.match(values["descr"]), values["shape"]
    if kind is None or not all(isinstance(n, int) and 0 <= n < 2**40 for n in dims):
        raise ValueError("no plain numbers")
    return kind[1], tuple(dims)


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"The calibration set {what}. {_ADVICE}", field="calibration")
