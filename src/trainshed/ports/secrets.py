"""Sealing, hashing and signing. Keys live in DATA/secrets, 0600, never in the database."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    """Thread-safe. Values never appear in logs or reprs."""

    def seal(self, plain: bytes) -> bytes:
        """Encrypt for rest, under the newest key, with its key id in front."""

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt what ``seal`` made under any key still in the ring."""

    def digest(self, secret: str) -> str:
        """Return the hex HMAC-SHA-256 of a token under the server's pepper."""

    def matches(self, secret: str, digest: str) -> bool:
        """Compare in constant time."""

    def sign(self, message: bytes) -> str:
        """Return a URL-safe signature, for presigned URLs and cursors."""

    def verify(self, message: bytes, signature: str) -> bool:
        """Check a signature in constant time."""

    def hash_password(self, password: str) -> str:
        """Return an argon2id hash. Slow on purpose: call it outside transactions."""

    def check_password(self, password: str, hashed: str | None) -> bool:
        """Check a password; ``None`` spends the same time and is False."""
