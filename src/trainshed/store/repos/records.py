"""Idempotency, the audit chain, settings that must survive, and public ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from trainshed.domain.errors import Conflict
from trainshed.ports.records import AuditEntry, Remembered
from trainshed.store import claim, sql
from trainshed.store.link import Link
from trainshed.store.mapping import (
    audit_from,
    micros,
    moment,
    plain,
    remembered_from,
    remembered_row,
)
from trainshed.store.tables import audit, drains, public_ids, remembered

#: Old answers that one transaction drops.
PURGED = 1000
_REMEMBER = sql.insert(remembered, tail="ON CONFLICT DO NOTHING")
_RECALL = sql.select(remembered, "WHERE account_id = ? AND key = ?")
_AUDIT = sql.insert(audit, skip=("seq",))
_BIND = sql.insert(public_ids, tail="ON CONFLICT DO NOTHING")
_DRAIN = sql.insert(drains, tail="ON CONFLICT DO NOTHING")
_GET_META = "SELECT value FROM meta WHERE key = ?"
_SET_META = (
    "INSERT INTO meta (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def link_of(before: str, at: int, entry: AuditEntry, data: str) -> str:
    """Return the hash that chains an audit line to the one before it."""
    parts = (before, str(at), entry.actor, entry.account_id, entry.action, entry.target, data)
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()


class SqlRecords:
    """``ports.store.Records`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link
        self._waits = link.engine != "sqlite"
        self._pending: list[AuditEntry] = []

    def remember(self, entry: Remembered) -> Remembered | None:
        """Insert, or return what is there."""
        if self._link.run(_REMEMBER, remembered_row(entry)):
            return None
        row = self._link.one(_RECALL, (entry.account_id, entry.key))
        if row is None:
            raise Conflict("The idempotency key was just released; try again.")
        return remembered_from(row)

    def complete(self, account_id: str, key: str, status: int, body: bytes) -> None:
        """Write the answer."""
        self._link.run(
            "UPDATE remembered SET status = ?, body = ? WHERE account_id = ? AND key = ?",
            (status, body, account_id, key),
        )

    def forget(self, account_id: str, key: str) -> None:
        """Let the key be used again."""
        self._link.run("DELETE FROM remembered WHERE account_id = ? AND key = ?", (account_id, key))

    def purge_remembered(self, before: datetime) -> list[Remembered]:
        """Drop old answers; return them."""
        query = sql.select(remembered, "WHERE created_at < ? ORDER BY created_at LIMIT ?")
        found = [remembered_from(row) for row in self._link.all(query, (micros(before), PURGED))]
        if found:
            keys = [(one.account_id, one.key) for one in found]
            self._link.many("DELETE FROM remembered WHERE account_id = ? AND key = ?", keys)
        return found

    def audit(self, entry: AuditEntry) -> None:
        """Chain it to the newest line; on PostgreSQL at the end of the transaction, one at a
        time.
        """
        self._pending.append(entry)
        if not self._waits:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._pending:
            return
        self._link.lock_key(claim.SEQUENCE_LOCK)
        chain = self._link.scalar("SELECT chain FROM audit ORDER BY seq DESC LIMIT 1") or ""
        for entry in self._pending:
            at, data = micros(entry.at), plain(entry.data)
            chain = link_of(chain, at, entry, data)
            row = (at, entry.actor, entry.account_id, entry.action, entry.target, data, chain)
            self._link.run(_AUDIT, row)
        self._pending = []

    def audit_page(
        self, account_id: str | None, before_seq: int | None, limit: int
    ) -> list[AuditEntry]:
        """Newest first."""
        self.flush()
        terms, values = ["1 = 1"], []
        for term, value in (("account_id = ?", account_id), ("seq < ?", before_seq)):
            if value is not None:
                terms.append(term)
                values.append(value)
        query = sql.select(audit, "WHERE", " AND ".join(terms), "ORDER BY seq DESC LIMIT ?")
        return [audit_from(r) for r in self._link.all(query, (*values, limit))]

    def get_meta(self, key: str) -> str | None:
        """Return a surviving setting, locked if this is a write."""
        found: str | None = self._link.scalar(_GET_META + self._link.for_update, (key,))
        return found

    def set_meta(self, key: str, value: str) -> None:
        """Keep a setting."""
        self._link.run(_SET_META, (key, value))

    def drain(self, offer_id: str, at: datetime, actor: str) -> None:
        """Keep the first drain, if there is one."""
        self._link.run(_DRAIN, (offer_id, micros(at), actor))

    def undrain(self, offer_id: str) -> None:
        """End a drain."""
        self._link.run("DELETE FROM drains WHERE offer_id = ?", (offer_id,))

    def drained(self) -> dict[str, datetime]:
        """Since when, by offer."""
        return {o: moment(at) for o, at in self._link.all("SELECT offer_id, at FROM drains")}

    def hold_office(self, name: str, holder: str, now: datetime, ttl_s: float) -> int:
        """Take it or keep it; the term's number, 0 if another holds it. One SQLite file has one
        server, by its lock: nothing to write there.
        """
        if not self._waits:
            return 1
        at = micros(now)
        ends = at + round(ttl_s * 1e6)
        if not self._link.run(claim.HOLD_OFFICE, (name, holder, ends, at)):
            return 0
        return int(self._link.scalar(claim.OFFICE_TERM, (name, holder)))

    def leave_office(self, name: str, holder: str) -> None:
        """Let the next one have it at once."""
        self._link.run(claim.LEAVE_OFFICE, (name, holder))

    def public_id(self, dialect: str, kind: str, object_id: str) -> str | None:
        """Return what a dialect calls an object."""
        query = "SELECT public_id FROM public_ids WHERE dialect = ? AND kind = ? AND object_id = ?"
        found: str | None = self._link.scalar(query, (dialect, kind, object_id))
        return found

    def object_id(self, dialect: str, kind: str, public_id: str) -> str | None:
        """Return what a dialect's id names."""
        query = "SELECT object_id FROM public_ids WHERE dialect = ? AND kind = ? AND public_id = ?"
        found: str | None = self._link.scalar(query, (dialect, kind, public_id))
        return found

    def bind_public_id(
        self, dialect: str, kind: str, public_id: str, object_id: str, account_id: str
    ) -> bool:
        """Bind, False if the public id is taken.

        Raises:
            Conflict: the object has another public id in this dialect already.
        """
        if self._link.run(_BIND, (dialect, kind, public_id, object_id, account_id)):
            return True
        bound = self.public_id(dialect, kind, object_id)
        if bound is not None and bound != public_id:
            raise Conflict(f"The {kind} is called {bound} already.")
        return bound == public_id

    def unbind_public_ids(self, dialect: str, kind: str, public_ids: Sequence[str]) -> None:
        """Let the objects be without."""
        query = "DELETE FROM public_ids WHERE dialect = ? AND kind = ? AND public_id = ?"
        self._link.many(query, [(dialect, kind, one) for one in public_ids])
