"""Jobs: insert, save, the paged list and the queue's head."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from trainshed.domain.errors import Conflict, IllegalTransition, NotFound
from trainshed.domain.job import Job
from trainshed.domain.placement import Candidate
from trainshed.domain.resources import Resources
from trainshed.domain.states import TERMINAL_JOB, JobState
from trainshed.ports.paging import After
from trainshed.ports.store import JobFilter
from trainshed.store import claim, sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import (
    JOB_MUTABLE,
    job_changes,
    job_from,
    job_row,
    micros,
    moment,
    moment_or_none,
)
from trainshed.store.tables import job_envs, job_labels, jobs

_INSERT = sql.insert(jobs)
_INSERT_ENV = sql.insert(job_envs)
_INSERT_LABEL = sql.insert(job_labels)
_SAVE = sql.update(jobs, JOB_MUTABLE, "WHERE id = ?")
_BY_ID = "WHERE id IN"
_CHUNK = 500
_ON_BOARDS = sql.select(
    jobs, "WHERE outcome IS NULL AND pool = 'boards' ORDER BY created_at, id LIMIT ?"
)
_LIVE = [c.name for c in jobs.columns].index("live")
_UNFINISHED = tuple(s.value for s in JobState if s not in TERMINAL_JOB)


class SqlJobs:
    """``ports.store.Jobs`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert(self, job: Job, env: bytes | None) -> None:
        """Add a fresh Job; raises Conflict if the id is taken."""
        self._link.run(_INSERT, job_row(job))
        if env is not None:
            self._link.run(_INSERT_ENV, (job.id, env))
        if job.spec.labels:
            at = micros(job.created_at)
            rows = [(k, v, job.account_id, at, job.id) for k, v in job.spec.labels.items()]
            self._link.many(_INSERT_LABEL, rows)

    def get(self, job_id: str, account_id: str | None = None) -> Job:
        """Return it, locked if this is a write."""
        row = self._link.one(claim.GET_JOB + self._link.for_update, (job_id,))
        if row is None or (account_id is not None and row[1] != account_id):
            raise NotFound("There is no job with that id.")
        return job_from(row)

    def several(self, ids: Sequence[str]) -> list[Job]:
        """By parts: a statement takes so many values and no more."""
        parts = [ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK)]
        return [job for part in parts for job in self._in_order(part)]

    def save(self, job: Job) -> None:
        """Write every mutable field (of the spec: the priority)."""
        try:
            changed = self._link.run(_SAVE, (*job_changes(job), job.id))
        except Conflict as error:
            raise IllegalTransition(error.detail) from error
        if not changed:
            raise NotFound("There is no job with that id.")

    def env(self, job_id: str) -> bytes | None:
        """Return the sealed environment."""
        sealed = self._link.scalar("SELECT sealed FROM job_envs WHERE job_id = ?", (job_id,))
        return None if sealed is None else bytes(sealed)

    def page(self, where: JobFilter, after: After | None, limit: int, offset: int = 0) -> list[Job]:
        """Newest first.

        Ids are found in indexes alone; only the rows of the page are read. Each asked state is its
        own walk of the index by state, merged here, so that a rare state is found at once.
        """
        states: Sequence[str | None] = where.states or (None,)
        end = offset + limit
        found = [self._ids(where, state, after, end) for state in dict.fromkeys(states)]
        newest = islice(heapq.merge(*found, reverse=True), offset, end)
        return self._in_order([id_ for _, id_ in newest])

    def count(self, where: JobFilter) -> int:
        """Count in indexes alone."""
        states: Sequence[str | None] = where.states or (None,)
        return sum(self._count(where, state) for state in dict.fromkeys(states))

    def starting_with(self, id_prefix: str, where: JobFilter, limit: int) -> list[str]:
        """Walk the primary key from the prefix to the first letter that is no hex digit."""
        terms, values = _terms(where, None, None, "j.id")
        query = (
            "SELECT j.id FROM jobs AS j WHERE j.id >= ? AND j.id < ? AND",
            " AND ".join(terms), "LIMIT ?",
        )  # fmt: skip
        found = self._link.all(" ".join(query), (id_prefix, id_prefix + "g", *values, limit))
        return [row[0] for row in found]

    def counts(self, account_id: str | None) -> dict[str, int]:
        """Number of Jobs by state."""
        scope, values = ("", ()) if account_id is None else ("AND account_id = ?", (account_id,))
        query = ("SELECT state, COUNT(*) FROM jobs WHERE deleted_at IS NULL", scope)
        return dict(self._link.all(" ".join((*query, "GROUP BY state")), values))

    def waiting(self) -> list[str]:
        """Accounts with something placeable."""
        return [account_id for (account_id,) in self._link.all(claim.WAITING_ACCOUNTS)]

    def lanes(self, account_id: str, after: str, limit: int) -> list[str]:
        """Best priority first."""
        rows = self._link.all(claim.LANES, (account_id, after, account_id, limit))
        return [lane for (lane,) in rows]

    def head(self, account_id: str, lane: str, now: datetime, limit: int) -> list[Candidate]:
        """The first of a lane."""
        rows = self._link.all(claim.LANE_HEAD, (account_id, lane, micros(now), limit))
        return [_candidate(row) for row in rows]

    def n_ahead(self, job: Job) -> int:
        """Count what comes first."""
        place = (-job.spec.priority, micros(job.created_at), job.id)
        return int(self._link.scalar(claim.N_AHEAD, place))

    def built_on_others(self, account_ids: Sequence[str]) -> list[Job]:
        """Unfinished Jobs that begin from another's work."""
        query = sql.select(
            jobs, "WHERE", sql.inside("account_id", len(account_ids)),
            "AND", sql.inside("state", len(_UNFINISHED)),
            "AND deleted_at IS NULL AND (retry_of IS NOT NULL OR spec LIKE ?)",
        )  # fmt: skip
        values = (*account_ids, *_UNFINISHED, '%"artifact"%')
        return [job_from(r) for r in self._link.all(query, values)]

    def next_due(self, now: datetime) -> datetime | None:
        """The end of the next back-off."""
        return moment_or_none(self._link.scalar(claim.NEXT_DUE, (micros(now),)))

    def _ids(
        self, where: JobFilter, state: str | None, after: After | None, limit: int
    ) -> list[tuple[int, str]]:
        """Return (created_at, id) of one walk."""
        source, order, values = self._walk(where, state, after)
        query = ("SELECT j.created_at, j.id FROM", source, "ORDER BY", order, "LIMIT ?")
        return [(r[0], r[1]) for r in self._link.all(" ".join(query), (*values, limit))]

    def on_boards(self, limit: int) -> list[tuple[Job, bool]]:
        """Those that have not ended, and whether each has a live Attempt, oldest first."""
        rows = self._link.all(_ON_BOARDS, (limit,))
        return [(job_from(row), bool(row[_LIVE])) for row in rows]

    def _count(self, where: JobFilter, state: str | None) -> int:
        source, _, values = self._walk(where, state, None)
        return int(self._link.scalar(" ".join(("SELECT COUNT(*) FROM", source)), values) or 0)

    def _walk(
        self, where: JobFilter, state: str | None, after: After | None
    ) -> tuple[str, str, list[Any]]:
        """Return (tables with their WHERE, order, values) of one walk, newest first."""
        label = next(iter(where.labels.items()), None)
        if label is not None:
            source = "job_labels AS l CROSS JOIN jobs AS j ON j.id = l.job_id"
            order, values = "l.created_at DESC, l.job_id DESC", [*label]
            terms = ["l.label = ?", "l.value = ?"]
            if where.account_id is not None:
                terms.append("l.account_id = ?")
                values.append(where.account_id)
        else:
            source, order = "jobs AS j", "j.created_at DESC, j.id DESC"
            terms, values = [], []
        more, given = _terms(where, state, after, "l.job_id" if label else "j.id")
        tables = source.replace("CROSS JOIN", self._join())
        return f"{tables} WHERE {' AND '.join((*terms, *more))}", order, [*values, *given]

    def _join(self) -> str:
        """SQLite keeps the written order of a CROSS JOIN; PostgreSQL chooses well by itself."""
        return "CROSS JOIN" if self._link.engine == "sqlite" else "JOIN"

    def _in_order(self, ids: Sequence[str]) -> list[Job]:
        if not ids:
            return []
        rows = self._link.all(sql.select(jobs, _BY_ID, f"({sql.marks(len(ids))})"), ids)
        by_id = {row[0]: row for row in rows}
        return [job_from(by_id[i]) for i in ids if i in by_id]


def _terms(
    where: JobFilter, state: str | None, after: After | None, id_column: str
) -> tuple[list[str], list[Any]]:
    """Return what narrows a walk, besides its leading label."""
    at = id_column.replace("job_id", "created_at").replace("j.id", "j.created_at")
    lows = micros(where.created_after) if where.created_after else None
    highs = micros(where.created_before) if where.created_before else None
    given: list[tuple[str, Any]] = [
        ("j.account_id = ?", where.account_id),
        ("j.state = ?", state),
        ("j.name = ?", where.name),
        ("j.dialect = ?", where.dialect),
        ("j.workload = ?", where.workload),
        ("j.pool = ?", where.pool),
        ("j.live = ?", None if where.live is None else int(where.live)),
        ("(j.n_attempts > 0) = ?", where.begun),
        (f"{at} > ?", lows),
        (f"{at} < ?", highs),
    ]
    terms = ["j.deleted_at IS NULL"]
    values: list[Any] = []
    for term, value in given:
        if value is not None:
            terms.append(term)
            values.append(value)
    for key, value in list(where.labels.items())[1:]:
        terms.append(
            "EXISTS (SELECT 1 FROM job_labels AS o WHERE o.label = ? AND o.value = ?"
            " AND o.account_id = j.account_id AND o.created_at = j.created_at"
            " AND o.job_id = j.id)"
        )
        values += [key, value]
    if after is not None:
        terms.append(f"({at}, {id_column}) < (?, ?)")
        values += [micros(after.created_at), after.id]
    return terms, values


def _candidate(row: Row) -> Candidate:
    id_, account_id, millicpus, memory_bytes, gpus, gpu_type, pool, rank, created_at, max_s, due = (
        row
    )
    want = Resources(millicpus, memory_bytes, gpus, gpu_type)
    return Candidate(
        id_, account_id, want, pool, -rank, moment(created_at), max_s, moment_or_none(due)
    )
