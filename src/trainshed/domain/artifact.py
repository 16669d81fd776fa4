"""Artifacts and checkpoints: immutable sets of files, named by their digest (D14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from trainshed.domain.errors import InvalidInput

MAX_PATH = 1024
MAX_PART = 255
_BAD = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_DRIVE = re.compile(r"^[A-Za-z]:")


class ArtifactKind(StrEnum):
    """``artifact``: the output directory at the end. ``checkpoint``: what a Job can resume from."""

    ARTIFACT = "artifact"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Content: md5 is the address (DVC's layout), sha256 the check, size in bytes."""

    md5: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file of an Artifact: POSIX path relative to its root, and content."""

    path: str
    blob: BlobRef
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A committed set of files of one Attempt. ``digest`` is the DVC ``.dir`` md5 of the set."""

    id: str
    account_id: str
    job_id: str
    attempt_id: str
    kind: ArtifactKind
    digest: str
    files: tuple[FileRef, ...]
    created_at: datetime
    step: int | None = None
    pinned: bool = False

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(f.blob.size_bytes for f in self.files)


def check_path(path: str, field: str = "path") -> str:
    """Return ``path`` if it is a plain relative POSIX path without tricks.

    Encoded separators are refused too: nothing decodes a stored path again, but a path that
    means something else after decoding is never wanted.

    Raises:
        InvalidInput: absolute, ``..``, empty parts, NUL or control characters, backslash, drive
            letter, percent-encoded dots or slashes, scheme, or over-long.
    """
    folded = path.lower()
    encoded = any(mark in folded for mark in ("%2e", "%2f", "%5c", "%25", "%00", "%c0", "%c1"))
    parts = path.split("/")
    wrong = (
        not path
        or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH
        or encoded
        or _BAD.search(path)
        or _DRIVE.match(path)
        or "://" in path
        or any(p in ("", ".", "..") or len(p.encode("utf-8", "replace")) > MAX_PART for p in parts)
        or any("\ud800" <= c <= "\udfff" for c in path)
    )
    if wrong:
        raise InvalidInput(
            "A path must be relative, with plain names joined by '/': no '..', no leading '/',"
            " no backslash, no control characters, no percent-encoding.",
            field=field,
        )
    return path
