"""Where bytes are kept: per account, content-addressed in DVC's remote layout (D14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from trainshed.domain.artifact import BlobRef


class BlobWriter(Protocol):
    """One upload in progress. Nothing is visible before ``commit``; not thread-safe."""

    def write(self, data: bytes) -> None:
        """Append and hash. Raises StorageFull when the disk is full."""

    def commit(self, md5: str | None = None, sha256: str | None = None) -> BlobRef:
        """Check against the announced digests, fsync, publish atomically.

        Raises:
            DigestConflict: another digest than announced, or the md5 is taken by other bytes.
        """

    def abort(self) -> None:
        """Drop it; safe to call twice and after commit."""


class Blobs(Protocol):
    """Thread-safe. An account sees its own root only."""

    def writer(self, account_id: str) -> BlobWriter:
        """Begin an upload."""

    def open(self, account_id: str, md5: str) -> BinaryIO:
        """Open for reading from the start. Raises NotFound."""

    def read(self, account_id: str, md5: str) -> bytes:
        """Return small content whole. Raises NotFound."""

    def exists(self, account_id: str, md5: str) -> bool:
        """Whether the content is there."""

    def delete(self, account_id: str, md5: str) -> None:
        """Remove it; absent is fine."""

    def listing(self, account_id: str) -> Iterator[tuple[str, int, float]]:
        """Yield (md5, size_bytes, modified_unix_s) of everything in the account's root."""

    def put_dir(self, account_id: str, entries: list[tuple[str, str]]) -> str:
        """Store DVC's directory object of (relpath, md5) pairs; return its id ``<md5>.dir``."""

    def free_bytes(self) -> int:
        """Bytes free on the disk that holds the blobs."""
