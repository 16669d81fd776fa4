"""A calibration set that somebody sends: looked at without unpacking it, before a run is taken.

What is in it is read in the Job; here only what costs nothing is refused: no archive, no plain
arrays, too much.
"""

from __future__ import annotations

import io
import zipfile
import zlib

from trainshed.domain.errors import InvalidInput

MAX_ARRAYS = 64
MAX_UNPACKED_BYTES = 256 * 2**20
HEADER_BYTES = 1024
MAGIC = b"\x93NUMPY"
_ADVICE = "Write it with numpy.savez(path, NAME=array), an array of samples per input."
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError,
           NotImplementedError)  # fmt: skip


def must_be_a_set(data: bytes) -> None:
    """Raise InvalidInput unless this is an ``.npz`` of plain numbers, of a bearable size."""
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
                if b"|O" in head.partition(b"}")[0]:
                    raise _refused("holds objects, not numbers")
    except _BROKEN as error:
        raise _refused("is no .npz file") from error


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"The calibration set {what}. {_ADVICE}", field="calibration")
