"""Schedules that come due: each fire and its Job are one transaction, and a unique row decides.

A crash, a second server or a clock that jumps back finds the row there and makes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainshed.domain import schedule as rules
from trainshed.domain.errors import Conflict, NotAllowed, NotFound, TrainshedError, Unavailable
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.people import Principal, Right, right_of
from trainshed.domain.schedule import Fire, FireState, Overlap, Phase, Schedule
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import ScheduleView
from trainshed.usecases import audit
from trainshed.usecases.schedules import get, owned, zone_of
from trainshed.usecases.submit import Ready, SubmitJob, make, opened_env, prepare

#: How many fires are prepared before their transactions are awaited, and how many share one.
BATCH, GROUP = 500, 25
KEEP_FIRES = timedelta(days=90)
MISSED = "Missed: nothing could fire at its time, and the schedule does not catch up."

register("firing.after_fire")


def fire_due(deps: Deps) -> int:
    """Fire everything that is due; return how many due times were settled.

    One that cannot make its Job is recorded as failed and the next one is tried. What the server
    itself cannot do now (a full disk) leaves the fire due.
    """
    now = deps.clock.utc_now()
    settled = 0
    batch = _due(deps, now, None)
    while batch:
        settled += _fire_all(deps, batch, now)
        full = len(batch) == BATCH
        batch = _due(deps, now, (batch[-1].next_due or now, batch[-1].id)) if full else []
    if settled:
        _fired(deps)
    return settled


def fire_now(deps: Deps, principal: Principal, schedule_id: str, kind: str = "now") -> ScheduleView:
    """Make a Job of the Schedule at once, whatever its times; the times stay as they are.

    Raises:
        Conflict: the Job of the last fire has not ended, and overlap is not allowed.
        Others as ``submit``.
    """
    principal.need(Right.WRITE)
    return _by_hand(deps, principal, schedule_id, kind)


def retry(deps: Deps, principal: Principal, schedule_id: str) -> ScheduleView:
    """Run the last fire again, as a new Job: a failed one resumes from its last checkpoint.

    Raises:
        Conflict: nothing has ended yet.
    """
    principal.need(Right.WRITE)
    seen = get(deps, principal, schedule_id)
    if seen.phase not in (Phase.SUCCEEDED, Phase.FAILED):
        raise Conflict(f"Only a job that has ended can be retried; this one is {seen.phase}.")
    failed = seen.job.id if seen.job and seen.phase is Phase.FAILED else None
    return _by_hand(deps, principal, schedule_id, "retry", failed)


def resync(deps: Deps) -> None:
    """Look again at due times in the future, after the clock was set back: a wrong clock must not
    have put them off by years. What has fired before is still not fired again.
    """
    now = deps.clock.utc_now()
    for one in deps.store.read(lambda tx: tx.schedules.ahead(now)):
        early = rules.after(one, zone_of(one.zone), now)
        if early.next_due is None or one.next_due is None or early.next_due >= one.next_due:
            continue

        def apply(tx: Tx, one: Schedule = one, early: Schedule = early) -> None:
            held = _as_seen(tx, one)
            if held is not None:
                tx.schedules.advance(replace(held, next_due=early.next_due))

        deps.store.write(apply)


def _due(deps: Deps, now: datetime, after: tuple[datetime, str] | None) -> list[Schedule]:
    return deps.store.read(lambda tx: tx.schedules.due(now, after, BATCH))


def _fire_all(deps: Deps, batch: list[Schedule], now: datetime) -> int:
    """Settle a batch in few transactions, given to the store before the first is awaited.

    One that fails takes its whole group back; that group is then settled one by one.
    """
    batch = sorted(batch, key=lambda one: (one.account_id, one.id))
    envs = deps.store.read(lambda tx: {one.id: tx.schedules.env(one.id) for one in batch})
    begun = []
    for start in range(0, len(batch), GROUP):
        steps = [_step(deps, one, envs[one.id], now) for one in batch[start : start + GROUP]]
        begun.append((steps, deps.store.submit(_together(steps))))
    settled = 0
    for steps, future in begun:
        try:
            settled += future.result()
        except TrainshedError:
            settled += sum(_alone(deps, step, now) for step in steps)
    return settled


@dataclass(frozen=True, slots=True)
class _Step:
    """One Schedule with the fire that is planned, and its transaction."""

    one: Schedule
    fire: Fire
    apply: Callable[[Tx], bool]


def _together(steps: Sequence[_Step]) -> Callable[[Tx], int]:
    def apply(tx: Tx) -> int:
        tx.schedules.lock([step.one.id for step in steps])
        return sum(step.apply(tx) for step in steps)

    return apply


def _alone(deps: Deps, step: _Step, now: datetime) -> bool:
    try:
        return deps.store.write(step.apply)
    except Unavailable:
        return False
    except TrainshedError as error:
        failed = replace(step.fire, state=FireState.FAILED, job_id=None, message=error.detail)
        return deps.store.write(_settling(step.one, _next(step.one, now), failed, None))


def _step(deps: Deps, one: Schedule, sealed: bytes | None, now: datetime) -> _Step:
    """Return the fire and its transaction, with all that must not happen inside it done."""
    dues = rules.due_times(one, zone_of(one.zone), now)
    due = dues[0] if dues else one.next_due or now
    later = replace(one, next_due=dues[1]) if len(dues) > 1 else _next(one, now)
    fire = Fire(one.id, due, one.account_id, "cron", FireState.FIRED, now)
    if not dues:
        skipped = replace(fire, state=FireState.SKIPPED, message=MISSED)
        return _Step(one, skipped, _settling(one, later, skipped, None))
    try:
        ready = prepare(deps, _command(one, opened_env(deps, sealed)))
    except Unavailable:
        return _Step(one, fire, lambda tx: False)
    except TrainshedError as error:
        failed = replace(fire, state=FireState.FAILED, message=error.detail)
        return _Step(one, failed, _settling(one, later, failed, None))
    made = replace(fire, job_id=ready.job.id)
    return _Step(one, made, _settling(one, later, made, ready))


def _next(one: Schedule, now: datetime) -> Schedule:
    return rules.after(one, zone_of(one.zone), now)


def _command(one: Schedule, env: dict[str, str], retry_of: str | None = None) -> SubmitJob:
    who = Principal(one.account_id, one.user_id, Right.WRITE, key_id=one.key_id)
    return SubmitJob(who, one.name, one.spec, env, one.dialect, retry_of)


def _settling(
    one: Schedule, later: Schedule, fire: Fire, ready: Ready | None
) -> Callable[[Tx], bool]:
    """Return the transaction that settles one due time; False if another has done so."""

    def apply(tx: Tx) -> bool:
        held = _as_seen(tx, one)
        if held is None:
            return False
        done = fire
        if ready is not None and held.overlap is not Overlap.ALLOW and (job := _unended(tx, held)):
            if held.overlap is Overlap.QUEUE:
                return False
            words = f"The job of an earlier fire is still {job.state}."
            done = replace(fire, state=FireState.SKIPPED, job_id=None, message=words)
        _record(tx, replace(held, next_due=later.next_due), done, ready)
        return True

    return apply


def _record(tx: Tx, held: Schedule, fire: Fire, ready: Ready | None) -> bool:
    """Write the fire, its Job and where the Schedule is now; False for a due time that has fired
    before: it only moves on.
    """
    if not tx.schedules.add_fire(fire):
        tx.schedules.advance(held)
        return False
    if fire.state is FireState.FIRED and ready is not None:
        _check_owner(tx, held, fire.fired_at)
        make(tx, ready)
        held = replace(held, last_job_id=ready.job.id, last_error=None)
    elif fire.state is FireState.FAILED:
        held = replace(held, last_error=fire.message)
    tx.schedules.advance(held)
    data = {
        "schedule_id": held.id,
        "name": held.name,
        "due_at": fire.due_at.isoformat(),
        "message": fire.message,
    }
    kind = f"schedule.{fire.state}"
    tx.events.append(Event(kind, held.account_id, fire.fired_at, fire.job_id, None, data))
    return True


def _by_hand(
    deps: Deps, principal: Principal, schedule_id: str, kind: str, retry_of: str | None = None
) -> ScheduleView:
    one, sealed = deps.store.read(
        lambda tx: (owned(tx, principal, schedule_id), tx.schedules.env(schedule_id))
    )
    ready = prepare(deps, _command(one, opened_env(deps, sealed), retry_of))
    now = deps.clock.utc_now()
    fire = Fire(one.id, now, one.account_id, kind, FireState.FIRED, now, ready.job.id)

    def apply(tx: Tx) -> None:
        held = owned(tx, principal, schedule_id)
        job = _unended(tx, held)
        if job is not None and held.overlap is not Overlap.ALLOW:
            raise Conflict(f"Its job is {job.state}; wait until it has ended, or cancel it.")
        if held.updated_at != one.updated_at:
            raise Conflict("The schedule was changed just now; try again.")
        if not _record(tx, held, fire, ready):
            raise Conflict("It has fired at this very moment; try again.")
        act = "schedule.retry" if kind == "retry" else "schedule.run_now"
        audit.line(tx, principal, one.account_id, act, one.id, now)

    deps.store.write(apply)
    _fired(deps)
    return get(deps, principal, schedule_id)


def _fired(deps: Deps) -> None:
    crashpoint("firing.after_fire")
    for topic in ("queue", "events"):
        deps.bus.notify(topic)


def _as_seen(tx: Tx, one: Schedule) -> Schedule | None:
    """Return the Schedule, locked, if nobody has changed, fired or deleted it meanwhile."""
    try:
        held = tx.schedules.get(one.id)
    except NotFound:
        return None
    same = (held.updated_at, held.next_due) == (one.updated_at, one.next_due)
    return held if same else None


def _unended(tx: Tx, held: Schedule) -> Job | None:
    job = tx.schedules.last_jobs([held]).get(held.id)
    return job if job is not None and not job.terminal else None


#: The scope that takes nothing from a role.
_ANY = ("admin",)


def _check_owner(tx: Tx, held: Schedule, now: datetime) -> None:
    """Raise NotAllowed when whoever made the Schedule may no longer do so."""
    gone = tx.people.get_account(held.account_id).disabled_at is not None
    if held.user_id is not None:
        user = tx.people.get_user(held.user_id)
        gone = gone or user.disabled_at is not None or right_of(user.role, _ANY) < Right.WRITE
    if held.key_id is not None:
        key = tx.people.get_key(held.key_id)
        late = key.expires_at is not None and key.expires_at <= now
        gone = gone or late or key.revoked_at is not None
    if gone:
        raise NotAllowed(
            "The account, user or API key that made this schedule was disabled, revoked or limited,"
            " or has expired; save the schedule again with another."
        )
