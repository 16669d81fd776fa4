"""Schedules: a cron expression and the Job to make each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainshed_client.api.group import Group, pages, part
from trainshed_client.decode import decode
from trainshed_client.models import Model
from trainshed_client.transport import clean


@dataclass(frozen=True, kw_only=True)
class Schedule(Model):
    """``phase`` is waiting, queued, running, retrying, succeeded or failed, of the newest fire."""

    id: str
    name: str
    cron: str
    zone: str = "UTC"
    catch_up: str = "one"
    overlap: str = "skip"
    phase: str = "waiting"
    next_due: datetime | None = None
    paused_at: datetime | None = None
    last_job_id: str | None = None
    last_job_state: str | None = None
    last_error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    job: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fire(Model):
    """What came of one due time: ``state`` is fired, skipped or failed."""

    due_at: datetime
    state: str
    fired_at: datetime | None = None
    late_s: float = 0
    kind: str = "cron"
    job_id: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Times(Model):
    """The next due times."""

    items: tuple[datetime, ...] = ()


class Schedules(Group):
    """Each due time makes one Job."""

    async def create(
        self,
        name: str,
        cron: str,
        job: Mapping[str, Any],
        *,
        zone: str | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        paused: bool | None = None,
    ) -> Schedule:
        """Make a Schedule.

        Args:
            name: Unique in the account.
            cron: Five fields: minute hour day-of-month month day-of-week.
            job: A JobSpec, as ``jobs.create`` takes it.
            zone: Name of a time zone; UTC unless given.
            catch_up: Of fires missed while the server was away: ``one``, ``skip`` or ``all``.
            overlap: While the last Job has not ended: ``skip``, ``queue`` or ``allow``.
            paused: Make it, but let it not fire.

        Raises:
            InvalidInput: the expression, zone or JobSpec is wrong.
            Conflict: the name is taken.
        """
        given = {"zone": zone, "catch_up": catch_up, "overlap": overlap, "paused": paused}
        body = clean({"name": name, "cron": cron, "job": dict(job), **given})
        answer = await self._transport.call("POST", "/v1/schedules", body=body, creates=True)
        return decode(Schedule, answer)

    def list(self, *, limit: int | None = None) -> AsyncIterator[Schedule]:
        """Yield the account's Schedules, newest first, at most ``limit``."""
        return pages(self._transport, Schedule, "/v1/schedules", limit=limit)

    async def get(self, schedule_id: str) -> Schedule:
        """Return one Schedule."""
        return decode(Schedule, await self._transport.call("GET", _path(schedule_id)))

    async def update(
        self,
        schedule_id: str,
        *,
        name: str | None = None,
        cron: str | None = None,
        job: Mapping[str, Any] | None = None,
        zone: str | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        paused: bool | None = None,
    ) -> Schedule:
        """Change what is given, for fires to come; ``job`` replaces the whole JobSpec."""
        given = {
            "name": name,
            "cron": cron,
            "zone": zone,
            "catch_up": catch_up,
            "overlap": overlap,
            "paused": paused,
            "job": None if job is None else dict(job),
        }
        answer = await self._transport.call("PATCH", _path(schedule_id), body=clean(given))
        return decode(Schedule, answer)

    async def delete(self, schedule_id: str) -> None:
        """Remove it; its Jobs stay."""
        await self._transport.call("DELETE", _path(schedule_id))

    async def run_now(self, schedule_id: str) -> Schedule:
        """Make a Job of it at once.

        Raises:
            Conflict: the Job of its last fire has not ended, and overlap is not allowed.
        """
        return await self._verb(schedule_id, "run-now")

    async def retry(self, schedule_id: str) -> Schedule:
        """Run its last fire again; a failed Job resumes from its checkpoint."""
        return await self._verb(schedule_id, "retry")

    async def next(self, schedule_id: str) -> tuple[datetime, ...]:
        """Return its next ten due times; none while it is paused."""
        answer = await self._transport.call("GET", _path(schedule_id, "next"))
        return decode(Times, answer).items

    async def preview(self, cron: str, *, zone: str | None = None) -> tuple[datetime, ...]:
        """Return when an expression fires next, ten times."""
        body = clean({"cron": cron, "zone": zone})
        path = "/v1/schedules/preview"
        answer = await self._transport.call("POST", path, body=body, idempotent=True)
        return decode(Times, answer).items

    def fires(self, schedule_id: str, *, limit: int | None = None) -> AsyncIterator[Fire]:
        """Yield what came of its due times, newest first."""
        return pages(self._transport, Fire, _path(schedule_id, "fires"), limit=limit)

    async def _verb(self, schedule_id: str, verb: str) -> Schedule:
        path = _path(schedule_id, verb)
        return decode(Schedule, await self._transport.call("POST", path, creates=True))


def _path(schedule_id: str, *more: str) -> str:
    return "/".join(["/v1/schedules", *(part(piece) for piece in (schedule_id, *more))])
