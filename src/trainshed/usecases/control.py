"""What an owner asks of a Job that exists: cancel, pause, resume, retry, priority, checkpoint,
delete.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from trainshed.domain import job as rules
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import IllegalTransition, InvalidInput
from trainshed.domain.events import Event
from trainshed.domain.job import MAX_PRIORITY, Job, derived
from trainshed.domain.people import Principal, Right
from trainshed.domain.states import JobState
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import JobView
from trainshed.usecases import audit, billing, orders, queries
from trainshed.usecases.submit import SubmitJob, opened_env, submit


def cancel(deps: Deps, principal: Principal, job_id: str) -> JobView:
    """Ask the Job to end for good; what runs is stopped, what is held is released.

    Raises:
        NotFound, NotAllowed. IllegalTransition: it has already ended.
    """
    stamp = billing.new_stamp(deps, deps.clock.utc_now())
    pools = {p.name: p for p in deps.pools}

    def apply(tx: Tx) -> Attempt | None:
        job, live = _load(tx, principal, job_id)
        asked = rules.cancel(job, live.state if live else None, stamp.now)
        tx.jobs.save(asked)
        if asked.terminal:
            billing.settle(tx, asked, tx.attempts.of_job(job_id), pools, stamp)
        kind = "job.cancelled" if asked.terminal else "job.cancelling"
        _note(tx, asked, kind, stamp.now)
        audit.line(tx, principal, principal.account_id, "job.cancel", job_id, stamp.now)
        return orders.leave(tx, live, "cancel")

    return _after(deps, principal, job_id, deps.store.write(apply))


def pause(deps: Deps, principal: Principal, job_id: str) -> JobView:
    """Ask the Job to stop at a checkpoint and wait; a queued one just waits.

    Raises:
        NotFound, NotAllowed. IllegalTransition: it has ended or is being cancelled.
    """
    stamp = billing.new_stamp(deps, deps.clock.utc_now())
    pools = {p.name: p for p in deps.pools}

    def apply(tx: Tx) -> Attempt | None:
        job, live = _load(tx, principal, job_id)
        asked = rules.pause(job, live.state if live else None)
        tx.jobs.save(asked)
        if asked.state is JobState.PAUSED:
            billing.settle(tx, asked, tx.attempts.of_job(job_id), pools, stamp)
        kind = "job.paused" if asked.state is JobState.PAUSED else "job.pausing"
        _note(tx, asked, kind, stamp.now)
        return orders.leave(tx, live, "pause")

    return _after(deps, principal, job_id, deps.store.write(apply))


def resume(deps: Deps, principal: Principal, job_id: str) -> JobView:
    """Queue a paused Job again, with a new hold for what run time it has left.

    Raises:
        NotFound, NotAllowed. IllegalTransition: it is not paused. PaymentRequired.
    """
    stamp = billing.new_stamp(deps, deps.clock.utc_now())
    pools = {p.name: p for p in deps.pools}

    def apply(tx: Tx) -> Attempt | None:
        job, live = _load(tx, principal, job_id)
        again = rules.resume(job, live.state if live else None)
        tx.jobs.save(again)
        billing.reserve(tx, again, tx.attempts.of_job(job_id), pools[job.pool], stamp)
        _note(tx, again, "job.resumed", stamp.now)
        return None

    return _after(deps, principal, job_id, deps.store.write(apply))


def retry(deps: Deps, principal: Principal, job_id: str) -> JobView:
    """Submit an ended Job again as a new Job with ``retry_of``; it resumes from its last
    checkpoint.

    Raises:
        NotFound, NotAllowed, PaymentRequired. IllegalTransition: it has not ended.
    """
    principal.need(Right.WRITE)

    def load(tx: Tx) -> tuple[Job, bytes | None]:
        return tx.jobs.get(job_id, principal.account_id), tx.jobs.env(job_id)

    job, sealed = deps.store.read(load)
    if not job.terminal:
        raise IllegalTransition(f"Only a job that has ended can be retried; it is {job.state}.")
    env = opened_env(deps, sealed)
    return submit(deps, SubmitJob(principal, job.name, job.spec, env, job.dialect, job.id))


def set_priority(deps: Deps, principal: Principal, job_id: str, priority: int) -> JobView:
    """Change the place in the queue.

    Raises:
        InvalidInput: out of range. IllegalTransition: the Job has ended.
    """
    if abs(priority) > MAX_PRIORITY:
        raise InvalidInput("priority must be -1000 to 1000.", field="priority")
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> Attempt | None:
        job, live = _load(tx, principal, job_id)
        if job.terminal:
            raise IllegalTransition("The job has ended; its priority means nothing now.")
        moved = replace(job, spec=replace(job.spec, priority=priority))
        tx.jobs.save(derived(moved, live.state if live else None))
        _note(tx, job, "job.priority", now, priority=priority)
        return None

    return _after(deps, principal, job_id, deps.store.write(apply))


def request_checkpoint(deps: Deps, principal: Principal, job_id: str) -> None:
    """Ask the running Attempt for a snapshot of its checkpoint directory.

    Raises:
        IllegalTransition: nothing runs.
    """

    def apply(tx: Tx) -> Attempt | None:
        job, live = _load(tx, principal, job_id)
        if live is None or job.state is not JobState.RUNNING:
            raise IllegalTransition(f"Only a running job can checkpoint; it is {job.state}.")
        return orders.leave(tx, live, "checkpoint")

    _after(deps, principal, job_id, deps.store.write(apply))


def delete(deps: Deps, principal: Principal, job_id: str) -> None:
    """Remove an ended Job with its logs, metrics and artifacts; ledger, receipt and audit stay
    (D14).

    Raises:
        IllegalTransition: it has not ended: cancel it first.
    """
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        job, _ = _load(tx, principal, job_id)
        if not job.terminal:
            raise IllegalTransition(f"The job is {job.state}; cancel it before deleting it.")
        for artifact in tx.files.artifacts(job_id):
            tx.files.delete_artifact(artifact.id)
        for attempt in tx.attempts.of_job(job_id):
            tx.streams.forget(attempt.id)
        tx.jobs.save(replace(job, deleted_at=now))
        _note(tx, job, "job.deleted", now)
        audit.line(tx, principal, principal.account_id, "job.delete", job_id, now)

    deps.store.write(apply)
    deps.bus.notify("events")


def _load(tx: Tx, principal: Principal, job_id: str) -> tuple[Job, Attempt | None]:
    job = tx.jobs.get(job_id, principal.account_id)
    principal.need(Right.WRITE)
    return job, tx.attempts.live_of(job_id)


def _note(tx: Tx, job: Job, kind: str, now: datetime, **data: object) -> None:
    tx.events.append(Event(kind, job.account_id, now, job.id, None, data))


def _after(deps: Deps, principal: Principal, job_id: str, live: Attempt | None) -> JobView:
    if live is not None:
        deps.bus.notify(f"orders:{live.id}")
    deps.bus.notify("queue")
    deps.bus.notify("events")
    return queries.get_job(deps, principal, job_id)
