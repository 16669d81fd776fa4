"""A Schedule: a cron expression, a time zone and the Job to make each time. A fire is
(schedule, due time) and happens once, whatever the server, the clock or the calendar do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from trainshed.domain import cron
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.states import JobState

#: A fire later than this was missed: the server was away, or the clock jumped.
ON_TIME = timedelta(seconds=60)
#: How many missed fires ``CatchUp.ALL`` makes up for; the oldest are left out.
MAX_CATCH_UP = 100
_FIRST_LOOK = timedelta(hours=1)


class CatchUp(StrEnum):
    """What becomes of fires that were missed: none, the newest one, or all (at most 100)."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


class Overlap(StrEnum):
    """What a fire does while the Job of the last one has not ended.

    ``skip``: it is recorded as skipped. ``queue``: it waits, at most one of them. ``allow``: both
    run.
    """

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class FireState(StrEnum):
    """What came of a fire: it made its Job, was skipped by policy, or could not make one."""

    FIRED = "fired"
    SKIPPED = "skipped"
    FAILED = "failed"


class Phase(StrEnum):
    """Where a Schedule is, by its newest fire; between fires the last outcome stays (D2)."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Schedule:
    """``spec`` is the template of each Job. ``next_due`` is None while paused or when it never
    fires again. ``last_job_id`` and ``last_error`` are of the newest fire that was not skipped.
    """

    id: str
    account_id: str
    user_id: str | None
    key_id: str | None
    dialect: str
    name: str
    cron: str
    zone: str
    spec: JobSpec
    created_at: datetime
    updated_at: datetime
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    next_due: datetime | None = None
    paused_at: datetime | None = None
    deleted_at: datetime | None = None
    last_job_id: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Fire:
    """One due time of a Schedule. ``kind`` is ``cron``, ``now`` or ``retry``; ``late_s`` tells how
    long after its due time it happened.
    """

    schedule_id: str
    due_at: datetime
    account_id: str
    kind: str
    state: FireState
    fired_at: datetime
    job_id: str | None = None
    message: str = ""

    @property
    def late_s(self) -> float:
        """Seconds from the due time to the fire."""
        return max(0.0, (self.fired_at - self.due_at).total_seconds())


def after(schedule: Schedule, tz: tzinfo, now: datetime) -> Schedule:
    """Return the Schedule with ``next_due`` set to the first fire after ``now``."""
    if schedule.paused_at is not None:
        return replace(schedule, next_due=None)
    return replace(schedule, next_due=next(iter(cron.next_fires(schedule.cron, tz, now, 1)), None))


def due_times(schedule: Schedule, tz: tzinfo, now: datetime) -> list[datetime]:
    """Return which due times up to ``now`` are to fire, oldest first, by the catch-up policy."""
    first = schedule.next_due
    if first is None or first > now:
        return []
    most = MAX_CATCH_UP if schedule.catch_up is CatchUp.ALL else 1
    newest = _newest(schedule.cron, tz, first, now, most)
    if schedule.catch_up is CatchUp.SKIP:
        return [due for due in newest if now - due <= ON_TIME]
    return newest


def phase_of(schedule: Schedule, job: Job | None) -> Phase:
    """Return where the Schedule is; ``job`` is that of ``last_job_id``. The store filters by the
    same rule in SQL.
    """
    if schedule.last_error is not None:
        return Phase.FAILED
    if job is None:
        return Phase.WAITING
    if job.state is JobState.QUEUED:
        return Phase.RETRYING if job.retries_used or job.infrastructure_used else Phase.QUEUED
    return _PHASES[job.state]


_PHASES = {
    JobState.RUNNING: Phase.RUNNING,
    JobState.PAUSED: Phase.QUEUED,
    JobState.CANCELLING: Phase.RUNNING,
    JobState.SUCCEEDED: Phase.SUCCEEDED,
    JobState.FAILED: Phase.FAILED,
    JobState.CANCELLED: Phase.FAILED,
}


def _newest(
    expression: str, tz: tzinfo, first: datetime, now: datetime, most: int
) -> list[datetime]:
    """Return the newest ``most`` due times of [first, now], looking back in growing steps: a
    server that was away for a year must not count half a million minutes.
    """
    found: Sequence[datetime] = ()
    until, step = now, _FIRST_LOOK
    while True:
        since = max(first - timedelta(microseconds=1), until - step)
        found = [*_between(expression, tz, since, until), *found][-most:]
        if len(found) >= most or since < first:
            return list(found)
        until, step = since, step * 2


def _between(expression: str, tz: tzinfo, since: datetime, until: datetime) -> list[datetime]:
    """Return the due times of (since, until]."""
    out: list[datetime] = []
    while True:
        some = cron.next_fires(expression, tz, out[-1] if out else since, 64)
        out += [due for due in some if due <= until]
        if len(some) < 64 or some[-1] > until:
            return out
