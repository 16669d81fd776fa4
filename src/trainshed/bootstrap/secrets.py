"""Keys in ``DATA/secrets``, and everything that is done with them.

ring.json   AES-256-GCM keys, newest first; the first seals, all unseal
pepper      the HMAC key under which tokens are looked up
signing     the HMAC key of presigned URLs and cursors
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import threading
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trainshed.domain.errors import Unavailable

_VERSION = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
#: One hash takes some 20 ms and 19 MiB; two at a time, so that a flood of logins is no flood of
#: work.
_AT_ONCE = 2


class FileSecrets:
    """``ports.secrets.Secrets`` on files that only the server's user can read."""

    def __init__(self, folder: Path) -> None:
        """Read the keys, making them at first use."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = folder
        self._guard = threading.Lock()
        self._pepper = _kept(folder / "pepper", secrets.token_bytes(32))
        self._signing = _kept(folder / "signing", secrets.token_bytes(32))
        _kept(folder / "ring.json", _ring_text([_new_key()]))
        self._ring = self._load()
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody: str | None = None

    def __repr__(self) -> str:
        """Say nothing."""
        return "FileSecrets()"

    def seal(self, plain: bytes) -> bytes:
        """Return version, key id, nonce and AES-GCM ciphertext; the id is authenticated too."""
        key_id, key = next(iter(self._ring.items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _VERSION + key_id
        return head + nonce + AESGCM(key).encrypt(nonce, plain, head)

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            Unavailable: the key is gone, or the bytes are not what ``seal`` made.
        """
        start = len(_VERSION) + _ID_BYTES
        head, nonce = sealed[:start], sealed[start : start + _NONCE_BYTES]
        key_id = head[len(_VERSION) :]
        if key_id not in self._ring:
            self._ring = self._load()  # another process may have rotated
        key = self._ring.get(key_id)
        if key is None or not head.startswith(_VERSION):
            raise Unavailable("The key that sealed this is not in the key ring; restore it.")
        try:
            return AESGCM(key).decrypt(nonce, sealed[start + _NONCE_BYTES :], head)
        except (InvalidTag, ValueError):
            raise Unavailable("A sealed value is damaged.") from None

    def rotate(self) -> None:
        """Seal under a new key from now on; old ones still unseal."""
        with self._guard:
            ring = {**dict([_new_key()]), **self._load()}
            _replace(self._folder / "ring.json", _ring_text(list(ring.items())))
            self._ring = ring

    def digest(self, secret: str) -> str:
        """Return the peppered HMAC-SHA-256 in hex."""
        return hmac.digest(self._pepper, _bytes(secret), "sha256").hex()

    def matches(self, secret: str, digest: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.digest(secret).encode(), _bytes(digest))

    def sign(self, message: bytes) -> str:
        """Return a URL-safe HMAC-SHA-256, 43 characters."""
        made = hmac.digest(self._signing, message, "sha256")
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()

    def verify(self, message: bytes, signature: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.sign(message).encode(), _bytes(signature))

    def hash_password(self, password: str) -> str:
        """Return an argon2id hash."""
        with self._slots:
            return self._hasher.hash(_bytes(password))

    def check_password(self, password: str, hashed: str | None) -> bool:
        """Check; an absent user takes as long as a wrong password."""
        if hashed is None and self._nobody is None:
            self._nobody = self.hash_password(secrets.token_hex(16))
        with self._slots:
            try:
                right = self._hasher.verify(hashed or self._nobody or "", _bytes(password))
            except (Argon2Error, InvalidHashError):
                return False
        return bool(right) and hashed is not None

    def _load(self) -> dict[bytes, bytes]:
        kept = json.loads((self._folder / "ring.json").read_text("ascii"))
        return {bytes.fromhex(k["id"]): base64.b64decode(k["key"]) for k in kept["keys"]}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _new_key() -> tuple[bytes, bytes]:
    return secrets.token_bytes(_ID_BYTES), AESGCM.generate_key(bit_length=256)


def _ring_text(keys: list[tuple[bytes, bytes]]) -> bytes:
    listed = [{"id": i.hex(), "key": base64.b64encode(k).decode()} for i, k in keys]
    return json.dumps({"version": 1, "keys": listed}).encode()


def _kept(path: Path, fresh: bytes) -> bytes:
    """Return the file's content; make it of ``fresh`` if absent, whole or not at all, and once
    even when two processes begin together.
    """
    if not path.exists():
        temporary = _write(path, fresh)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        _sync(path.parent)
    found = path.read_bytes()
    if not found:
        raise Unavailable(f"The secret file {path.name} is empty; restore it from a backup.")
    return found


def _replace(path: Path, content: bytes) -> None:
    _write(path, content).replace(path)
    _sync(path.parent)


def _write(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
