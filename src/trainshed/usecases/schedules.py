"""Schedules as their owner sees them: make, look, change, pause, delete, preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from trainshed.domain import cron
from trainshed.domain import schedule as rules
from trainshed.domain.errors import Conflict, IllegalTransition, InvalidInput, NotFound
from trainshed.domain.events import Event
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.people import Principal, Right
from trainshed.domain.schedule import CatchUp, Fire, Overlap, Phase, Schedule, phase_of
from trainshed.ports.deps import Deps
from trainshed.ports.schedules import ScheduleFilter
from trainshed.ports.store import Tx
from trainshed.ports.views import ScheduleView
from trainshed.usecases import audit, control
from trainshed.usecases.submit import SubmitJob, check, opened_env, sealed_env

MAX_SCHEDULES = 10_000
PREVIEW = 10
TOPIC = "schedules"


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a dialect asks for. The values of ``env`` are secrets. ``public_id`` is what the
    dialect calls it, drawn by the dialect: a taken one is a Conflict with ``taken``.
    """

    principal: Principal
    name: str
    cron: str
    spec: JobSpec
    env: Mapping[str, str]
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    paused: bool = False
    dialect: str = "native"
    public_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be another; None leaves it. ``env`` replaces all variables."""

    name: str | None = None
    cron: str | None = None
    zone: str | None = None
    spec: JobSpec | None = None
    env: Mapping[str, str] | None = None
    catch_up: CatchUp | None = None
    overlap: Overlap | None = None
    paused: bool | None = None


def zone_of(name: str) -> tzinfo:
    """Return the time zone.

    Raises:
        InvalidInput: there is none of that name on this machine.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            f"There is no time zone {name[:60]!r} here; write UTC or a name such as Europe/Berlin.",
            field="zone",
        ) from error


def create(deps: Deps, command: NewSchedule) -> ScheduleView:
    """Make a Schedule; its first Job comes at its first due time.

    Raises:
        InvalidInput, ImpossibleRequest: the expression, zone or template is wrong.
        Conflict: the name is taken, or there are too many.
    """
    who = command.principal
    who.need(Right.WRITE)
    spec = check(deps, SubmitJob(who, command.name, command.spec, command.env, command.dialect))
    now = deps.clock.utc_now()
    draft = Schedule(
        deps.ids.new("schedule"), who.account_id, who.user_id, who.key_id, command.dialect,
        command.name, cron.check(command.cron), command.zone, spec, now, now,
        command.catch_up, command.overlap, paused_at=now if command.paused else None,
    )  # fmt: skip
    made = rules.after(draft, zone_of(command.zone), now)
    sealed = sealed_env(deps, command.env)

    def apply(tx: Tx) -> None:
        if sum(tx.schedules.counts(who.account_id).values()) >= MAX_SCHEDULES:
            raise Conflict(f"There are {MAX_SCHEDULES} schedules already; delete some.")
        tx.schedules.insert(made, sealed)
        public = command.public_id
        if public is not None and not tx.records.bind_public_id(
            made.dialect, "schedule", public, made.id, made.account_id
        ):
            raise Conflict("That id is taken; try again.", taken=True)
        _note(tx, who, made, "created", now)

    deps.store.write(apply)
    _wake(deps)
    return ScheduleView(made, Phase.WAITING)


def get(deps: Deps, principal: Principal, schedule_id: str) -> ScheduleView:
    """Return one with the Job of its newest fire."""
    return deps.store.read(lambda tx: view(tx, owned(tx, principal, schedule_id)))


def find(deps: Deps, principal: Principal, dialect: str, public_id: str) -> ScheduleView | None:
    """Return what a dialect calls ``public_id``, or None where it is not the caller's."""

    def load(tx: Tx) -> ScheduleView | None:
        found = tx.records.object_id(dialect, "schedule", public_id)
        return None if found is None else view(tx, owned(tx, principal, found))

    try:
        return deps.store.read(load)
    except NotFound:
        return None


def listing(
    deps: Deps,
    where: ScheduleFilter,
    before: tuple[datetime, str] | None,
    skip: int,
    limit: int,
) -> list[ScheduleView]:
    """Return a part of the account's list, newest first."""

    def load(tx: Tx) -> list[ScheduleView]:
        found = tx.schedules.page(where, before, skip, limit)
        jobs = tx.schedules.last_jobs(found)
        return [view_of(one, jobs.get(one.id)) for one in found]

    return deps.store.read(load)


def counts(deps: Deps, principal: Principal, dialect: str | None = None) -> dict[Phase, int]:
    """Return how many of the account's Schedules are in each phase."""
    return deps.store.read(lambda tx: tx.schedules.counts(principal.account_id, dialect))


def update(
    deps: Deps, principal: Principal, schedule_id: str, change: Change, idle_only: bool = False
) -> ScheduleView:
    """Change what is given, for fires to come. Who changes it is whom later Jobs are made by.

    Raises:
        IllegalTransition: with ``idle_only``, its Job runs. Others as ``create``.
    """
    principal.need(Right.WRITE)
    old, sealed = deps.store.read(
        lambda tx: (owned(tx, principal, schedule_id), tx.schedules.env(schedule_id))
    )
    now = deps.clock.utc_now()
    env = opened_env(deps, sealed) if change.env is None else change.env
    name = change.name or old.name
    spec = check(deps, SubmitJob(principal, name, change.spec or old.spec, env, old.dialect))
    wanted = replace(
        old, name=name, spec=spec, updated_at=now,
        user_id=principal.user_id, key_id=principal.key_id,
        cron=cron.check(change.cron or old.cron), zone=change.zone or old.zone,
        catch_up=change.catch_up or old.catch_up, overlap=change.overlap or old.overlap,
        paused_at=_since(old.paused_at, change.paused, now),
    )  # fmt: skip
    retimed = (wanted.cron, wanted.zone, wanted.paused_at) != (old.cron, old.zone, old.paused_at)
    timed = rules.after(wanted, zone_of(wanted.zone), now) if retimed else wanted
    fresh = None if change.env is None else sealed_env(deps, change.env)

    def apply(tx: Tx) -> ScheduleView:
        held = owned(tx, principal, schedule_id)
        if held.updated_at != old.updated_at:
            raise Conflict("The schedule was changed by someone else just now; try again.")
        if idle_only:
            _must_be_idle(tx, held, "changed")
        new = replace(
            timed, next_due=timed.next_due if retimed else held.next_due,
            last_job_id=held.last_job_id, last_error=held.last_error,
        )  # fmt: skip
        tx.schedules.save(new)
        if change.env is not None:
            tx.schedules.set_env(schedule_id, fresh)
        _note(tx, principal, new, "updated", now)
        return view(tx, new)

    changed = deps.store.write(apply)
    _wake(deps)
    return changed


def delete(deps: Deps, principal: Principal, schedule_id: str, idle_only: bool = False) -> None:
    """Remove it; its Jobs stay. With ``idle_only`` a Job that still waits is cancelled with it.

    Raises:
        IllegalTransition: with ``idle_only``, its Job runs.
    """
    principal.need(Right.WRITE)
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> Job | None:
        held = owned(tx, principal, schedule_id)
        job = _must_be_idle(tx, held, "deleted") if idle_only else None
        tx.schedules.save(replace(held, deleted_at=now, updated_at=now, next_due=None))
        _note(tx, principal, held, "deleted", now)
        return job

    job = deps.store.write(apply)
    if job is not None and not job.terminal:
        control.cancel(deps, principal, job.id)
    deps.bus.notify("events")


def preview(
    deps: Deps, expression: str, zone: str, n: int = PREVIEW, after: datetime | None = None
) -> list[datetime]:
    """Return the next ``n`` fires of an expression.

    Raises:
        InvalidInput: the expression or the zone is wrong.
    """
    start = deps.clock.utc_now() if after is None else after
    return cron.next_fires(cron.check(expression), zone_of(zone), start, n)


def next_fires(deps: Deps, principal: Principal, schedule_id: str) -> list[datetime]:
    """Return the next ten fires of a Schedule; none while it is paused."""
    one = get(deps, principal, schedule_id).schedule
    return [] if one.next_due is None else preview(deps, one.cron, one.zone)


def fires(
    deps: Deps, principal: Principal, schedule_id: str, before: datetime | None, limit: int
) -> list[Fire]:
    """Return what came of its due times, newest first."""

    def load(tx: Tx) -> list[Fire]:
        owned(tx, principal, schedule_id)
        return tx.schedules.fires(schedule_id, before, limit)

    return deps.store.read(load)


def public_ids(deps: Deps, dialect: str, schedule_ids: Sequence[str]) -> dict[str, str]:
    """Return what a dialect calls each of its Schedules."""

    def load(tx: Tx) -> dict[str, str]:
        found = ((i, tx.records.public_id(dialect, "schedule", i)) for i in schedule_ids)
        return {i: public for i, public in found if public is not None}

    return deps.store.read(load)


def schedule_of(deps: Deps, job_id: str) -> str | None:
    """Return the id of the Schedule whose fire made a Job."""
    return deps.store.read(lambda tx: tx.schedules.schedule_of(job_id))


def owned(tx: Tx, principal: Principal, schedule_id: str) -> Schedule:
    """Return the caller's Schedule. Raises NotFound."""
    return tx.schedules.get(schedule_id, principal.account_id)


def view(tx: Tx, one: Schedule) -> ScheduleView:
    """Return it with the Job of its newest fire."""
    return view_of(one, tx.schedules.last_jobs([one]).get(one.id))


def view_of(one: Schedule, job: Job | None) -> ScheduleView:
    return ScheduleView(one, phase_of(one, job), job)


def _must_be_idle(tx: Tx, one: Schedule, verb: str) -> Job | None:
    """Return the Job of its newest fire, which does not run."""
    job = tx.schedules.last_jobs([one]).get(one.id)
    live = job is not None and tx.attempts.live_of(job.id) is not None
    if live:
        raise IllegalTransition(f"Its job is running; it cannot be {verb} until that has ended.")
    return job


def _since(old: datetime | None, wanted: bool | None, now: datetime) -> datetime | None:
    if wanted is None:
        return old
    return (old or now) if wanted else None


def _note(tx: Tx, who: Principal, one: Schedule, verb: str, now: datetime) -> None:
    data = {"schedule_id": one.id, "name": one.name}
    tx.events.append(Event(f"schedule.{verb}", one.account_id, now, data=data))
    audit.line(tx, who, one.account_id, f"schedule.{verb}", one.id, now)


def _wake(deps: Deps) -> None:
    deps.bus.notify(TOPIC)
    deps.bus.notify("events")
