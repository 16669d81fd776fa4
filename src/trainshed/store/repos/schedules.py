"""Schedules, their fires, and which checkpoint a volume holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from trainshed.domain.errors import Conflict, NotFound
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.schedule import CatchUp, Fire, FireState, Overlap, Phase, Schedule
from trainshed.ports.schedules import ScheduleFilter
from trainshed.store import claim, sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import (
    clean,
    job_from,
    json_text,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
)
from trainshed.store.tables import fires, jobs, schedules

_spec = msgspec.json.Decoder(JobSpec)
_INSERT = sql.insert(schedules, tail="ON CONFLICT DO NOTHING")
_MUTABLE = [c.name for c in schedules.columns if c.name not in ("id", "account_id", "env")]
_SAVE = sql.update(schedules, _MUTABLE, "WHERE id = ?")
_ADVANCE = sql.update(schedules, ("next_due", "last_job_id", "last_error"), "WHERE id = ?")
_GET = sql.select(schedules, "WHERE id = ? AND deleted_at IS NULL")
_TAKEN = "You have a schedule with that name already; choose another, or delete that one."

#: ``domain.schedule.phase_of`` in SQL; ``verify`` compares the two.
PHASE = """
CASE WHEN s.last_error IS NOT NULL THEN 'failed'
     WHEN j.id IS NULL THEN 'waiting'
     WHEN j.state = 'QUEUED' AND j.retries_used + j.infrastructure_used > 0 THEN 'retrying'
     WHEN j.state IN ('QUEUED', 'PAUSED') THEN 'queued'
     WHEN j.state IN ('RUNNING', 'CANCELLING') THEN 'running'
     WHEN j.state = 'SUCCEEDED' THEN 'succeeded'
     ELSE 'failed' END
"""
#: Every kept Schedule with the Job of its newest fire.
WITH_JOB = (
    " FROM schedules AS s LEFT JOIN jobs AS j ON j.id = s.last_job_id WHERE s.deleted_at IS NULL"
)


class SqlSchedules:
    """``ports.schedules.Schedules`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert(self, schedule: Schedule, env: bytes | None) -> None:
        """Add it; raises Conflict if the name is taken."""
        if not self._link.run(_INSERT, (*_row(schedule), env)):
            raise Conflict(_TAKEN, field="name")

    def get(self, schedule_id: str, account_id: str | None = None) -> Schedule:
        """Return it, locked if this is a write."""
        row = self._link.one(_GET + self._link.for_update, (schedule_id,))
        if row is None or (account_id is not None and row[1] != account_id):
            raise NotFound("There is no schedule with that id.")
        return _schedule(row)

    def lock(self, schedule_ids: Sequence[str]) -> None:
        """Lock many; nothing with a single writer."""
        if self._link.for_update and schedule_ids:
            wanted = sql.inside("id", len(schedule_ids))
            query = ("SELECT id FROM schedules WHERE", wanted, "ORDER BY account_id, id")
            self._link.all(" ".join(query) + self._link.for_update, [*schedule_ids])

    def save(self, schedule: Schedule) -> None:
        """Write every field but ``env``."""
        other = self._link.scalar(claim.SCHEDULE_NAMED, (schedule.account_id, schedule.name))
        if other not in (None, schedule.id):
            raise Conflict(_TAKEN, field="name")
        if not self._link.run(_SAVE, (*_row(schedule)[2:], schedule.id)):
            raise NotFound("There is no schedule with that id.")

    def advance(self, schedule: Schedule) -> None:
        """Write what a fire changes."""
        row = _row(schedule)
        self._link.run(_ADVANCE, (row[12], row[15], row[16], schedule.id))

    def env(self, schedule_id: str) -> bytes | None:
        """Return the sealed environment."""
        sealed = self._link.scalar("SELECT env FROM schedules WHERE id = ?", (schedule_id,))
        return None if sealed is None else bytes(sealed)

    def set_env(self, schedule_id: str, env: bytes | None) -> None:
        """Replace the sealed environment."""
        self._link.run("UPDATE schedules SET env = ? WHERE id = ?", (env, schedule_id))

    def due(self, now: datetime, after: tuple[datetime, str] | None, limit: int) -> list[Schedule]:
        """Return those to fire, the longest due first."""
        since = (micros(after[0]), after[1]) if after else (-(2**62), "")
        rows = self._link.all(claim.DUE_SCHEDULES, (micros(now), *since, limit))
        return [_schedule(row) for row in rows]

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the next one is due."""
        return moment_or_none(self._link.scalar(claim.NEXT_SCHEDULE, (micros(now),)))

    def ahead(self, now: datetime) -> list[Schedule]:
        """Return those that are due later."""
        query = sql.select(schedules, "WHERE next_due > ?")
        return [_schedule(row) for row in self._link.all(query, (micros(now),))]

    def last_jobs(self, schedules: Sequence[Schedule]) -> dict[str, Job]:
        """Return the Job of each one's newest fire."""
        wanted = {s.last_job_id: s.id for s in schedules if s.last_job_id is not None}
        if not wanted:
            return {}
        query = sql.select(jobs, "WHERE", sql.inside("id", len(wanted)))
        return {wanted[row[0]]: job_from(row) for row in self._link.all(query, [*wanted])}

    def page(
        self, where: ScheduleFilter, before: tuple[datetime, str] | None, skip: int, limit: int
    ) -> list[Schedule]:
        """Newest first."""
        terms: list[str] = ["s.deleted_at IS NULL"]
        given: list[Any] = []
        if where.account_id is not None:
            terms.append("s.account_id = ?")
            given.append(where.account_id)
        if where.dialect is not None:
            terms.append("s.dialect = ?")
            given.append(where.dialect)
        if where.phases:
            terms.append(sql.inside(PHASE, len(where.phases)))
            given += [phase.value for phase in where.phases]
        if before is not None:
            terms.append("(s.created_at, s.id) < (?, ?)")
            given += [micros(before[0]), before[1]]
        query = (
            "SELECT", sql.columns(schedules, "s"), WITH_JOB, "AND", " AND ".join(terms),
            "ORDER BY s.created_at DESC, s.id DESC LIMIT ? OFFSET ?",
        )  # fmt: skip
        return [_schedule(r) for r in self._link.all(" ".join(query), (*given, limit, skip))]

    def counts(self, account_id: str | None, dialect: str | None = None) -> dict[Phase, int]:
        """Count by phase."""
        given = {_MINE: account_id, _OF: dialect}
        only = {term: value for term, value in given.items() if value is not None}
        query = ("SELECT", PHASE, "AS phase, COUNT(*)", WITH_JOB, *only, "GROUP BY phase")
        return {Phase(phase): n for phase, n in self._link.all(" ".join(query), [*only.values()])}

    def created(self, dialect: str) -> dict[str, int]:
        """Count by name, with deleted ones."""
        query = "SELECT name, COUNT(*) FROM schedules WHERE dialect = ? GROUP BY name"
        return dict(self._link.all(query, (dialect,)))

    def add_fire(self, fire: Fire) -> bool:
        """Take the due time, once."""
        return bool(self._link.run(claim.FIRE, _fire_row(fire)))

    def fires(self, schedule_id: str, before: datetime | None, limit: int) -> list[Fire]:
        """Newest first."""
        until = micros(before) if before else 2**63 - 1
        query = sql.select(
            fires, "WHERE schedule_id = ? AND due_at < ? ORDER BY due_at DESC LIMIT ?"
        )
        return [_fire(row) for row in self._link.all(query, (schedule_id, until, limit))]

    def schedule_of(self, job_id: str) -> str | None:
        """Return whose fire made a Job."""
        found: str | None = self._link.scalar(
            "SELECT schedule_id FROM fires WHERE job_id = ?", (job_id,)
        )
        return found

    def purge_fires(self, before: datetime) -> int:
        """Forget old ones."""
        return self._link.run("DELETE FROM fires WHERE due_at < ?", (micros(before),))

    def volume(self, account_id: str, path: str) -> str | None:
        """Return the checkpoint that a volume holds."""
        query = "SELECT artifact_id FROM volumes WHERE account_id = ? AND path = ?"
        found: str | None = self._link.scalar(query, (account_id, path))
        return found

    def set_volume(self, account_id: str, path: str, artifact_id: str, now: datetime) -> None:
        """Let a volume hold another checkpoint."""
        self._link.run(_SET_VOLUME, (account_id, path, artifact_id, micros(now)))


_MINE = "AND s.account_id = ?"
_OF = "AND s.dialect = ?"
_SET_VOLUME = (
    "INSERT INTO volumes (account_id, path, artifact_id, updated_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (account_id, path) DO UPDATE SET artifact_id = excluded.artifact_id,"
    " updated_at = excluded.updated_at"
)


def _row(one: Schedule) -> Row:
    """Return the row of a Schedule without ``env``."""
    return (
        one.id, one.account_id, one.user_id, one.key_id, one.dialect, one.name, one.cron, one.zone,
        one.catch_up.value, one.overlap.value, micros(one.created_at), micros(one.updated_at),
        micros_or_none(one.next_due), micros_or_none(one.paused_at),
        micros_or_none(one.deleted_at), one.last_job_id,
        None if one.last_error is None else clean(one.last_error), json_text(one.spec),
    )  # fmt: skip


def _schedule(row: Row) -> Schedule:
    (
        id_, account_id, user_id, key_id, dialect, name, cron, zone, catch_up, overlap, created_at,
        updated_at, next_due, paused_at, deleted_at, last_job_id, last_error, spec, _env,
    ) = row  # fmt: skip
    return Schedule(
        id_, account_id, user_id, key_id, dialect, name, cron, zone, _spec.decode(spec),
        moment(created_at), moment(updated_at), CatchUp(catch_up), Overlap(overlap),
        moment_or_none(next_due), moment_or_none(paused_at), moment_or_none(deleted_at),
        last_job_id, last_error,
    )  # fmt: skip


def _fire_row(one: Fire) -> Row:
    return (
        one.schedule_id, micros(one.due_at), one.account_id, one.kind, one.state.value,
        micros(one.fired_at), one.job_id, clean(one.message),
    )  # fmt: skip


def _fire(row: Row) -> Fire:
    schedule_id, due_at, account_id, kind, state, fired_at, job_id, message = row
    return Fire(
        schedule_id, moment(due_at), account_id, kind, FireState(state), moment(fired_at),
        job_id, message,
    )  # fmt: skip
