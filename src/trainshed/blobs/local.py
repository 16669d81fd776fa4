"""Content on the local disk: for each account a valid DVC remote, beside it the sha256 of each
object.

    ROOT/<account>/files/md5/ab/cdef…        the object, 0444, named by the md5 of its bytes
    ROOT/<account>/files/md5/ab/cdef….dir    DVC's list of a directory
    ROOT/<account>/sha256/<md5>              its sha256 in hex; made again from the bytes if absent
    ROOT/<account>/tmp/                      uploads in progress, on the same file system

An object is published by a hard link that never replaces: two uploads with one md5 and different
bytes cannot both win.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from trainshed.domain.artifact import BlobRef
from trainshed.domain.errors import DigestConflict, NotFound, StorageFull
from trainshed.ports.crash import crashpoint, register

register("blobs.before_rename", "blobs.after_rename")

BUFFER = 1024 * 1024
STALE_S = 86_400
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalBlobs:
    """``ports.blobs.Blobs`` below one folder. With ``verify`` every sequential read is checked."""

    def __init__(self, root: Path, verify: bool = True) -> None:
        """Make the folder; drop uploads that were left behind more than a day ago."""
        self._root = root
        self._verify = verify
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest = time.time() - STALE_S
        for left in root.glob("*/tmp/*"):
            with suppress(OSError):
                if left.stat().st_mtime < oldest:
                    left.unlink()

    def writer(self, account_id: str) -> LocalWriter:
        """Begin an upload."""
        return LocalWriter(self, self._home(account_id))

    def open(self, account_id: str, md5: str) -> BinaryIO:
        """Open from the start; raises NotFound, and DigestConflict at the end of damaged
        content.
        """
        try:
            raw = self.path(account_id, md5).open("rb", buffering=0)
        except FileNotFoundError:
            raise _missing() from None
        if not self._verify:
            return io.BufferedReader(raw, BUFFER)
        return io.BufferedReader(_Checked(raw, md5[:32]), BUFFER)

    def read(self, account_id: str, md5: str) -> bytes:
        """Return small content, checked."""
        try:
            data = self.path(account_id, md5).read_bytes()
        except FileNotFoundError:
            raise _missing() from None
        if self._verify and hashlib.md5(data, usedforsecurity=False).hexdigest() != md5[:32]:
            raise _damaged()
        return data

    def exists(self, account_id: str, md5: str) -> bool:
        """Whether the object is there."""
        try:
            return self.path(account_id, md5).is_file()
        except NotFound:
            return False

    def delete(self, account_id: str, md5: str) -> None:
        """Remove object and sha256."""
        self.path(account_id, md5).unlink(missing_ok=True)
        (self._home(account_id) / "sha256" / md5).unlink(missing_ok=True)

    def listing(self, account_id: str) -> Iterator[tuple[str, int, float]]:
        """Yield (md5, bytes, Unix seconds) of every object, directory objects as ``<md5>.dir``."""
        for folder in sorted(self._home(account_id).glob("files/md5/[0-9a-f][0-9a-f]")):
            for entry in os.scandir(folder):
                name = folder.name + entry.name
                if _MD5.match(name):
                    with suppress(FileNotFoundError):
                        found = entry.stat()
                        yield name, found.st_size, found.st_mtime

    def put_dir(self, account_id: str, entries: list[tuple[str, str]]) -> str:
        """Store DVC's list of (relpath, md5); return ``<md5>.dir``."""
        listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries)]
        writer = self.writer(account_id)
        writer.write(json.dumps(listed, sort_keys=True).encode())
        return writer.commit(suffix=".dir").md5 + ".dir"

    def free_bytes(self) -> int:
        """Bytes that an ordinary user may still write."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def path(self, account_id: str, md5: str) -> Path:
        """Return where an object is or would be; raises NotFound for what is no md5."""
        if not _MD5.match(md5):
            raise _missing()
        return self._home(account_id) / "files" / "md5" / md5[:2] / md5[2:]

    def sha256(self, account_id: str, md5: str) -> str:
        """Return the sha256 of a stored object, from beside it or from its bytes."""
        kept = self._home(account_id) / "sha256" / md5
        with suppress(FileNotFoundError):
            found = kept.read_text("ascii")
            if len(found) == 64:
                return found
        with self.path(account_id, md5).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _make(kept.parent)
        kept.write_text(found, "ascii")
        return found

    def _home(self, account_id: str) -> Path:
        if not _ACCOUNT.match(account_id):
            raise _missing()
        return self._root / account_id


class LocalWriter:
    """``ports.blobs.BlobWriter``: a temporary file that hashes what passes through."""

    def __init__(self, blobs: LocalBlobs, home: Path) -> None:
        """Open the temporary file."""
        self._blobs = blobs
        self._home = home
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        try:
            _make(home / "tmp")
            handle, name = tempfile.mkstemp(dir=home / "tmp")
        except OSError as error:
            raise _full(error) from error
        self._file: BinaryIO | None = os.fdopen(handle, "wb", BUFFER)
        self._temporary = Path(name)

    def write(self, data: bytes) -> None:
        """Append and hash."""
        if self._file is None:
            raise ValueError("This upload is over.")
        try:
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise _full(error) from error
        self._size += len(data)
        self._md5.update(data)
        self._sha256.update(data)

    def commit(
        self, md5: str | None = None, sha256: str | None = None, suffix: str = ""
    ) -> BlobRef:
        """Check, sync, publish. ``suffix`` is ``.dir`` for a directory object."""
        if self._file is None:
            raise ValueError("This upload is over.")
        made = BlobRef(self._md5.hexdigest(), self._sha256.hexdigest(), self._size)
        if (md5 or made.md5) != made.md5 or (sha256 or made.sha256) != made.sha256:
            self.abort()
            raise DigestConflict("The content does not have the announced digest; send it again.")
        try:
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            self._publish(made, made.md5 + suffix)
        except OSError as error:
            raise _full(error) from error
        finally:
            self.abort()
        return made

    def abort(self) -> None:
        """Close and remove the temporary file."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()
        self._temporary.unlink(missing_ok=True)

    def _publish(self, made: BlobRef, name: str) -> None:
        account = self._home.name
        target = self._blobs.path(account, name)
        _make(target.parent)
        crashpoint("blobs.before_rename")
        try:
            os.link(self._temporary, target)
        except FileExistsError:
            if self._blobs.sha256(account, name) != made.sha256:
                raise DigestConflict(
                    "Other content with the same md5 is stored already; it is not replaced."
                ) from None
            os.utime(target)  # young again: a sweep in progress must not take it
            return
        _sync(target.parent)
        kept = self._home / "sha256" / name
        _make(kept.parent)
        kept.write_text(made.sha256, "ascii")
        crashpoint("blobs.after_rename")


class _Checked(io.RawIOBase):
    """Hashes a file while it is read from start to end; seeking elsewhere ends the check."""

    def __init__(self, raw: io.FileIO, md5: str) -> None:
        self._raw = raw
        self._want = md5
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        n = self._raw.readinto(view) or 0
        if self._md5 is not None and n:
            self._md5.update(view[:n])
        elif self._md5 is not None and len(view) and self._md5.hexdigest() != self._want:
            raise _damaged()
        return n

    def seek(self, offset: int, whence: int = 0) -> int:
        place = self._raw.seek(offset, whence)
        self._md5 = hashlib.md5(usedforsecurity=False) if place == 0 else None
        return place

    def tell(self) -> int:
        return self._raw.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()


def _make(folder: Path) -> None:
    """Make a 0700 folder and sync its parents, as far up as they are new."""
    if folder.is_dir():
        return
    _make(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _missing() -> NotFound:
    return NotFound("There is no such content.")


def _damaged() -> DigestConflict:
    return DigestConflict("The stored content is damaged: it no longer has its digest.")


def _full(error: OSError) -> Exception:
    if error.errno in _FULL:
        return StorageFull("The server's disk is full; nothing was stored. Free some space.")
    return error
