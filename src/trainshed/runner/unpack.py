"""Unpacking archives that strangers sent: regular files and folders only, bounded, never
outside.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

MAX_FILES = 100_000
MAX_BYTES = 200 * 1024**3
MAX_RATIO = 200
RATIO_FREE = 64 * 1024**2
BLOCK = 1024 * 1024


class BadArchive(Exception):
    """The archive is refused; the text says which member and why."""


@dataclass(slots=True)
class _Budget:
    """What may still come out: bytes and members. The ratio counts against the packed size."""

    packed: int
    bytes_out: int = 0
    files: int = 0

    def member(self) -> None:
        self.files += 1
        if self.files > MAX_FILES:
            raise BadArchive(f"it has more than {MAX_FILES} members.")

    def take(self, n_bytes: int) -> None:
        self.bytes_out += n_bytes
        ratio = max(self.packed * MAX_RATIO, RATIO_FREE)
        if self.bytes_out > min(MAX_BYTES, ratio):
            raise BadArchive("it unpacks to far more than its size; that looks like a bomb.")


def unpack(archive: str, target: str, uid: int | None) -> None:
    """Unpack a zip or tar (plain, gz, bz2, xz) below the existing directory ``target``.

    Raises:
        BadArchive: traversal, links, devices, bombs, or no archive at all.
        OSError: it cannot be written.
    """
    budget = _Budget(os.path.getsize(archive))
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as source:
                _zip(source, target, uid, budget)
            return
        with tarfile.open(archive) as source_tar:
            _tar(source_tar, target, uid, budget)
    except _DAMAGED as error:
        raise BadArchive(f"it is no zip or tar that can be read ({error}).") from error
    except RuntimeError as error:
        raise BadArchive("it is encrypted.") from error


#: What the readers raise of damaged content; some of it only on the way.
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
    struct.error, EOFError, NotImplementedError, ValueError,
)  # fmt: skip


def _zip(source: zipfile.ZipFile, target: str, uid: int | None, budget: _Budget) -> None:
    for info in source.infolist():
        budget.member()
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadArchive(f"{info.filename!r} is a link or a device.")
        path = _inside(target, info.filename)
        if info.is_dir():
            _folder(target, path, uid)
            continue
        with source.open(info) as data:
            _file(target, path, data, mode, uid, budget)


def _tar(source: tarfile.TarFile, target: str, uid: int | None, budget: _Budget) -> None:
    for info in source:
        budget.member()
        path = _inside(target, info.name)
        if info.isdir():
            _folder(target, path, uid)
        elif info.isreg() and not info.issparse():
            data = source.extractfile(info)
            assert data is not None
            with data:
                _file(target, path, data, info.mode, uid, budget)
        else:
            raise BadArchive(f"{info.name!r} is a link, a device or sparse.")


def _inside(target: str, name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or "\\" in name or len(name) > 4096:
        raise BadArchive(f"the member {name[:200]!r} would land outside.")
    return "/".join([target, *parts])


def _parts(target: str, path: str) -> Iterator[str]:
    done = target
    for part in path[len(target) :].split("/"):
        if part:
            done = f"{done}/{part}"
            yield done


def _folder(target: str, path: str, uid: int | None) -> None:
    for one in _parts(target, path):
        try:
            os.mkdir(one, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(one).st_mode):
                name = os.path.basename(one)
                raise BadArchive(f"{name!r} is both a file and a folder.") from None
            continue
        if uid is not None:
            os.chown(one, uid, uid)


def _file(
    target: str, path: str, data: IO[bytes], mode: int, uid: int | None, budget: _Budget
) -> None:
    _folder(target, os.path.dirname(path), uid)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o755 if mode & 0o100 else 0o644), "wb") as into:
        if uid is not None:
            os.fchown(into.fileno(), uid, uid)
        while block := data.read(BLOCK):
            budget.take(len(block))
            into.write(block)
