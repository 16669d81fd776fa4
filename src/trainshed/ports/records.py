"""What the store keeps for the server itself: answers to repeat, audit, public ids, offices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Remembered:
    """The first answer to an Idempotency-Key. ``status`` 0 means still in flight."""

    account_id: str
    key: str
    fingerprint: str
    status: int
    body: bytes
    created_at: datetime

    @property
    def once(self) -> str:
        """What the request made is found by this name. The body is in it: another request under
        the same key must never be given that.
        """
        return hashlib.sha256(f"{self.key}:{self.fingerprint}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the hash-chained audit log; ``seq`` and ``chain`` are given by the store."""

    at: datetime
    actor: str
    account_id: str
    action: str
    target: str
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
    chain: str = ""


class Records(Protocol):
    """Idempotency, audit, public ids, drains, offices and settings that must survive."""

    def remember(self, entry: Remembered) -> Remembered | None:
        """Insert it unless the (account, key) exists; then return what is there instead."""

    def complete(self, account_id: str, key: str, status: int, body: bytes) -> None: ...
    def forget(self, account_id: str, key: str) -> None: ...
    def purge_remembered(self, before: datetime) -> list[Remembered]:
        """Drop the oldest thousand of what is older; return them."""

    def audit(self, entry: AuditEntry) -> None: ...
    def audit_page(
        self, account_id: str | None, before_seq: int | None, limit: int
    ) -> list[AuditEntry]: ...
    def get_meta(self, key: str) -> str | None: ...
    def set_meta(self, key: str, value: str) -> None: ...
    def drain(self, offer_id: str, at: datetime, actor: str) -> None:
        """Let the offer take nothing new; a drain that is there already stays."""

    def undrain(self, offer_id: str) -> None: ...
    def drained(self) -> dict[str, datetime]:
        """Offer id -> since when it takes nothing new."""

    def hold_office(self, name: str, holder: str, now: datetime, ttl_s: float) -> int:
        """Take or keep what only one server may do at a time, for ``ttl_s`` from ``now``; return
        the number of the holder's term, 0 if another holds the office. Called again in the
        transaction of what the office is for, it fences: the same number means that nobody
        else held it in between."""

    def leave_office(self, name: str, holder: str) -> None:
        """Give it up, if it is the holder's."""

    def public_id(self, dialect: str, kind: str, object_id: str) -> str | None: ...
    def object_id(self, dialect: str, kind: str, public_id: str) -> str | None: ...
    def bind_public_id(
        self, dialect: str, kind: str, public_id: str, object_id: str, account_id: str
    ) -> bool:
        """False if that public id is taken: draw another."""

    def unbind_public_ids(self, dialect: str, kind: str, public_ids: Sequence[str]) -> None: ...
