"""Attempts and their leases; every write is fenced by the token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import Conflict, NotFound
from trainshed.domain.preemption import Running
from trainshed.ports.paging import After
from trainshed.store import claim, sql
from trainshed.store.link import Link
from trainshed.store.mapping import LIVE_STATES, attempt_changes, attempt_from, attempt_row, micros
from trainshed.store.tables import attempts
from trainshed.store.tables.jobs import LIVE

_OF_JOB = sql.select(attempts, "WHERE job_id = ? ORDER BY number")
_CHUNK = 500

#: A GPU counts as 8 cores; a live Attempt has used what its last renewal saw. Microseconds ×
#: thousandths of a core.
_USED = (
    "SUM((millicpus + 8000 * gpus) * ({end} - CASE WHEN started_at > ? THEN started_at ELSE ? END))"
)
_ENDED = " ".join(
    (
        "SELECT account_id,", _USED.format(end="ended_at"),
        "FROM attempts WHERE ended_at > ? AND started_at IS NOT NULL GROUP BY account_id",
    )
)  # fmt: skip
_RUNNING = " ".join(
    (
        "SELECT account_id,", _USED.format(end="renewed_at"), "FROM attempts WHERE", LIVE,
        "AND renewed_at > ? AND started_at IS NOT NULL GROUP BY account_id",
    )
)  # fmt: skip

_OLD = " ".join(
    (
        "SELECT", sql.columns(attempts, "a"),
        "FROM attempts AS a JOIN jobs AS j ON j.id = a.job_id",
        "WHERE a.ended_at < ? AND (a.ended_at, a.id) > (?, ?)",
        "AND j.outcome IS NOT NULL AND j.ended_at < ? AND",
        "(EXISTS (SELECT 1 FROM stream_heads AS h WHERE h.attempt_id = a.id)",
        "OR EXISTS (SELECT 1 FROM artifacts AS f WHERE f.job_id = a.job_id",
        "AND f.attempt_id = a.id AND f.pinned = 0))",
        "ORDER BY a.ended_at, a.id LIMIT ?",
    )
)  # fmt: skip


class SqlAttempts:
    """``ports.store.Attempts`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert(self, attempt: Attempt) -> None:
        """Take the lease; raises Conflict if the Job has a live Attempt."""
        if not self._link.run(claim.LEASE, attempt_row(attempt)):
            raise Conflict("The job already has a live attempt.")
        self._mark(attempt)

    def get(self, attempt_id: str) -> Attempt:
        """Return it, locked if this is a write."""
        row = self._link.one(claim.GET_ATTEMPT + self._link.for_update, (attempt_id,))
        if row is None:
            raise NotFound("There is no attempt with that id.")
        return attempt_from(row)

    def save_if_held(self, attempt: Attempt) -> bool:
        """Write unless stale."""
        values = (*attempt_changes(attempt), attempt.id, attempt.token)
        if not self._link.run(claim.SAVE_IF_HELD, values):
            return False
        if not attempt.live:
            self._mark(attempt)
        return True

    def live(self) -> list[Attempt]:
        """All leases, oldest first."""
        return [attempt_from(r) for r in self._link.all(claim.LIVE_ATTEMPTS)]

    def running(self) -> list[Running]:
        """All leases with what placement must know of their Jobs."""
        return [
            Running(attempt_from(row[:-4]), -row[-4], row[-3], row[-2], int(row[-1]))
            for row in self._link.all(claim.RUNNING)
        ]

    def live_of(self, job_id: str) -> Attempt | None:
        """The Job's lease, locked if this is a write."""
        row = self._link.one(claim.LIVE_OF_JOB + self._link.for_update, (job_id,))
        return None if row is None else attempt_from(row)

    def of_job(self, job_id: str) -> list[Attempt]:
        """By number."""
        return [attempt_from(r) for r in self._link.all(_OF_JOB, (job_id,))]

    def of_jobs(self, job_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """By Job, then by number; Jobs without Attempts have an empty list."""
        out: dict[str, list[Attempt]] = {job_id: [] for job_id in job_ids}
        for i in range(0, len(job_ids), _CHUNK):
            part = job_ids[i : i + _CHUNK]
            some = sql.inside("job_id", len(part))
            query = sql.select(attempts, "WHERE", some, "ORDER BY number")
            for row in self._link.all(query, part):
                out[row[1]].append(attempt_from(row))
        return out

    def renew(self, held: Mapping[str, tuple[int, datetime]]) -> None:
        """Flush renewals, in one order so that two servers cannot wait for each other."""
        rows = []
        for attempt_id, (token, at) in sorted(held.items()):
            renewed = micros(at)
            rows.append((renewed, attempt_id, token, renewed))
        if rows:
            self._link.many(claim.RENEW, rows)

    def old(self, before: datetime, after: After | None, limit: int) -> list[Attempt]:
        """What retention may empty."""
        since = (micros(after.created_at), after.id) if after else (0, "")
        at = micros(before)
        return [attempt_from(r) for r in self._link.all(_OLD, (at, *since, at, limit))]

    def usage(self, since: datetime) -> dict[str, float]:
        """Core-seconds by account."""
        at = micros(since)
        out: dict[str, float] = {}
        for query in (_ENDED, _RUNNING):
            for account_id, used in self._link.all(query, (at, at, at)):
                out[account_id] = out.get(account_id, 0.0) + max(float(used or 0), 0.0) / 1e9
        return out

    def _mark(self, attempt: Attempt) -> None:
        live = int(attempt.state.value in LIVE_STATES)
        self._link.run(claim.MARK_LIVE, (live, attempt.job_id, live))
