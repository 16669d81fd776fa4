"""The part of the store that keeps Schedules, their fires and checkpoint volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trainshed.domain.job import Job
from trainshed.domain.schedule import Fire, Phase, Schedule


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Every field narrows; None and empty mean all. ``account_id`` None is for operators."""

    account_id: str | None
    dialect: str | None = None
    phases: tuple[Phase, ...] = ()


class Schedules(Protocol):
    """Schedules and fires. ``env`` is the sealed environment of the Jobs to come."""

    def insert(self, schedule: Schedule, env: bytes | None) -> None:
        """Raises Conflict if the account has one with that name."""

    def get(self, schedule_id: str, account_id: str | None = None) -> Schedule:
        """Return it, locked if this is a write.

        Raises NotFound: absent, deleted or another account's.
        """

    def lock(self, schedule_ids: Sequence[str]) -> None:
        """Lock many in an order of their own, before any account: two writers cannot cross."""

    def save(self, schedule: Schedule) -> None:
        """Write every field but ``env``. Raises Conflict if the name is taken."""

    def advance(self, schedule: Schedule) -> None:
        """Write what a fire changes: ``next_due``, ``last_job_id``, ``last_error``."""

    def env(self, schedule_id: str) -> bytes | None: ...
    def set_env(self, schedule_id: str, env: bytes | None) -> None: ...
    def due(self, now: datetime, after: tuple[datetime, str] | None, limit: int) -> list[Schedule]:
        """Those to fire up to ``now``, by (next_due, id) after ``after``; without those whose
        policy is to queue behind a Job that has not ended.
        """

    def next_due(self, now: datetime) -> datetime | None:
        """The earliest due time after ``now``."""

    def ahead(self, now: datetime) -> list[Schedule]:
        """Every Schedule whose next due time is after ``now``."""

    def last_jobs(self, schedules: Sequence[Schedule]) -> dict[str, Job]:
        """Schedule id -> the Job of its newest fire, also a deleted one."""

    def page(
        self, where: ScheduleFilter, before: tuple[datetime, str] | None, skip: int, limit: int
    ) -> list[Schedule]:
        """Newest first; strictly before (created_at, id)."""

    def counts(self, account_id: str | None, dialect: str | None = None) -> dict[Phase, int]:
        """How many there are by phase."""

    def created(self, dialect: str) -> dict[str, int]:
        """How many were ever made, by name, over all accounts; deleted ones too."""

    def add_fire(self, fire: Fire) -> bool:
        """False if that due time has happened before: the row decides, whoever asks."""

    def fires(self, schedule_id: str, before: datetime | None, limit: int) -> list[Fire]:
        """Newest due time first."""

    def schedule_of(self, job_id: str) -> str | None:
        """The id of the Schedule whose fire made the Job."""

    def purge_fires(self, before: datetime) -> int:
        """Forget fires due before then; return how many."""

    def volume(self, account_id: str, path: str) -> str | None:
        """The id of the checkpoint that the volume holds now."""

    def set_volume(self, account_id: str, path: str, artifact_id: str, now: datetime) -> None: ...
