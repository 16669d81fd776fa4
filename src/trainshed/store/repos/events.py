"""The outbox. On PostgreSQL events wait in memory until the end of the transaction (D11)."""

from __future__ import annotations

from trainshed.domain.events import Event
from trainshed.store import claim, sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import event_from, event_row
from trainshed.store.tables import events

_INSERT = sql.insert(events, skip=("seq",))


class SqlEvents:
    """``ports.store.Events`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``; with one writer, order is by itself."""
        self._link = link
        self._waits = link.engine != "sqlite"
        self._pending: list[Row] = []

    def append(self, event: Event) -> None:
        """Add it; ``seq`` is given now (one writer) or by ``flush``."""
        if self._waits:
            self._pending.append(event_row(event))
        else:
            self._link.run(_INSERT, event_row(event))

    def flush(self) -> None:
        """Give sequence numbers, under a lock that is kept until commit: no reader skips one."""
        if self._pending:
            self._link.lock_key(claim.SEQUENCE_LOCK)
            self._link.many(_INSERT, self._pending)
            self._pending = []

    def page(
        self, after_seq: int, limit: int, account_id: str | None = None, job_id: str | None = None
    ) -> list[Event]:
        """Oldest first, strictly after ``after_seq``."""
        self.flush()
        terms, values = ["seq > ?"], [after_seq]
        for name, value in (("account_id", account_id), ("job_id", job_id)):
            if value is not None:
                terms.append(f"{name} = ?")
                values.append(value)  # type: ignore[arg-type]
        query = sql.select(events, "WHERE", " AND ".join(terms), "ORDER BY seq LIMIT ?")
        return [event_from(r) for r in self._link.all(query, (*values, limit))]

    def last_seq(self) -> int:
        """The newest number, 0 before any."""
        self.flush()
        return int(self._link.scalar("SELECT MAX(seq) FROM events") or 0)
