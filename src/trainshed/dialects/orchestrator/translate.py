"""The Orchestrator's words ↔ the domain, both ways, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from trainshed.dialects.orchestrator import schema
from trainshed.domain.attempt import Attempt
from trainshed.domain.environment import Environment
from trainshed.domain.errors import InvalidInput
from trainshed.domain.events import Event
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.people import Principal
from trainshed.domain.retry import RetryPolicy
from trainshed.domain.schedule import Fire, FireState, Phase, Schedule
from trainshed.domain.states import AttemptState, JobState, Reason
from trainshed.ports.views import LogSlice, ScheduleView
from trainshed.usecases.schedules import Change, NewSchedule

DIALECT = "orchestrator"
RESUME_FLAG = "--resume-from-checkpoint"
MAX_BACKOFF_S = 3600.0
SERVICE = "training-orchestrator-api"

#: phase -> status.
STATUS = {
    Phase.WAITING: "pending",
    Phase.QUEUED: "pending",
    Phase.RUNNING: "running",
    Phase.RETRYING: "retrying",
    Phase.SUCCEEDED: "completed",
    Phase.FAILED: "failed",
}
STATUSES = tuple(dict.fromkeys(STATUS.values()))
#: state of an Attempt -> status.
ATTEMPT = {
    AttemptState.LEASED: "pending",
    AttemptState.STARTING: "pending",
    AttemptState.RUNNING: "running",
    AttemptState.CHECKPOINTING: "running",
    AttemptState.SUCCEEDED: "completed",
    AttemptState.FAILED: "failed",
    AttemptState.CANCELLED: "failed",
    AttemptState.EVICTED: "retrying",
    AttemptState.LOST: "retrying",
}


def to_new(
    body: schema.JobCreate, principal: Principal, public_id: str, backoff_s: float
) -> NewSchedule:
    """Return the command of a new job; ``public_id`` is its ``train-…`` id."""
    spec = JobSpec(
        command=tuple(body.command),
        environment=Environment("image", body.image),
        retry=RetryPolicy(body.max_retries, backoff_s, max(MAX_BACKOFF_S, backoff_s)),
        checkpoint_path=body.checkpoint_path or "",
        resume_flag=RESUME_FLAG,
    )
    return NewSchedule(
        principal, body.name, body.schedule, spec, {"JOB_ID": public_id},
        dialect=DIALECT, public_id=public_id,
    )  # fmt: skip


def to_change(body: schema.JobUpdate, old: Schedule) -> Change:
    """Return what is to be another: the fields that were sent."""
    sent = body.model_fields_set
    spec = old.spec
    if "image" in sent:
        spec = replace(spec, environment=Environment("image", body.image))
    if "command" in sent:
        spec = replace(spec, command=tuple(body.command))
    if "max_retries" in sent:
        spec = replace(spec, retry=replace(spec.retry, max_retries=body.max_retries))
    if "checkpoint_path" in sent:
        spec = replace(spec, checkpoint_path=body.checkpoint_path or "")
    return Change(
        name=body.name if "name" in sent else None,
        cron=body.schedule if "schedule" in sent else None,
        spec=spec,
    )


def to_phases(status: str | None) -> tuple[Phase, ...]:
    """Return the phases of a status; all for none.

    Raises:
        InvalidInput: there is no such status.
    """
    if status is None:
        return ()
    found = tuple(phase for phase, word in STATUS.items() if word == status)
    if not found:
        raise InvalidInput(
            f"There is no status {status[:40]!r}; there is: {', '.join(STATUSES)}.", field="status"
        )
    return found


def to_job(view: ScheduleView, public_id: str) -> schema.Job:
    """Return a job as its newest run left it."""
    one, job, spec = view.schedule, view.job, view.schedule.spec
    failed_fire = one.last_error is not None
    run = None if failed_fire else job
    times = [one.updated_at, *(t for t in (_times(run)) if t is not None)]
    return schema.Job(
        job_id=public_id,
        name=one.name,
        image=spec.environment.value,
        command=list(spec.command),
        schedule=one.cron,
        max_retries=spec.retry.max_retries,
        retry_count=0 if run is None else run.retries_used,
        checkpoint_path=spec.checkpoint_path or None,
        status=STATUS[view.phase],
        started_at=None if run is None else when(run.started_at),
        completed_at=None if run is None else when(run.ended_at),
        error_message=_error(view),
        created_at=stamp(one.created_at),
        updated_at=stamp(max(times)),
        next_run_at=when(one.next_due),
    )


def _times(run: Job | None) -> tuple[datetime | None, ...]:
    return () if run is None else (run.created_at, run.started_at, run.ended_at)


def _error(view: ScheduleView) -> str | None:
    """Return why it failed: always a string then, which clients measure. While it is retrying: why
    the last attempt failed.
    """
    job = view.job
    if view.phase is Phase.RETRYING and job is not None:
        return job.message or "The last attempt failed; the job is tried again."
    if view.phase is not Phase.FAILED:
        return None
    if view.schedule.last_error is not None or job is None:
        return view.schedule.last_error or "The job could not be made."
    if job.message:
        return job.message
    if job.outcome is JobState.CANCELLED:
        return "Cancelled."
    return f"The job failed: {job.reason or Reason.EXIT_CODE}."


def to_stats(found: Mapping[Phase, int]) -> schema.Stats:
    """Return how many jobs there are by status."""
    by = dict.fromkeys(STATUSES, 0)
    for phase, n in found.items():
        by[STATUS[phase]] += n
    return schema.Stats(total_jobs=sum(by.values()), **by)


def to_health(now: datetime, connected: bool) -> schema.Health:
    """Return whether the server can work."""
    word = "healthy" if connected else "degraded"
    return schema.Health(
        status=word, timestamp=stamp(now), service=SERVICE, database_connected=connected
    )


def to_logs(public_id: str, run_id: str, part: LogSlice) -> schema.Logs:
    """Return a piece of a log; bytes that are no text become U+FFFD."""
    return schema.Logs(
        job_id=public_id,
        run_id=run_id,
        attempt=part.attempt,
        stream=part.stream,
        logs=part.data.decode("utf-8", "replace"),
        offset=part.offset,
        next_offset=part.next,
        size=part.size,
    )


def to_attempt(fire: Fire, one: Attempt) -> schema.Attempt:
    """Return one execution."""
    failed = ATTEMPT[one.state] == "failed"
    return schema.Attempt(
        run_id=one.job_id,
        due_at=stamp(fire.due_at),
        trigger=fire.kind,
        attempt=one.number,
        status=ATTEMPT[one.state],
        started_at=when(one.started_at),
        completed_at=when(one.ended_at),
        exit_code=one.exit_code,
        error_message=(one.message or str(one.reason)) if failed else None,
        resumed=one.resumed_from is not None,
        isolation=one.isolation,
    )


def to_events(fires: Sequence[Fire], found: Sequence[Event]) -> list[schema.Event]:
    """Return what happened, oldest first: fires that made no Job, and events of those that did."""
    made = [
        schema.Event(
            event=e.kind,
            timestamp=stamp(e.at),
            run_id=e.job_id,
            message=str(e.data.get("message", "")),
            data=_plain(e.data),
        )
        for e in found
    ]
    missed = [
        schema.Event(
            event=f"schedule.{f.state}",
            timestamp=stamp(f.fired_at),
            run_id=None,
            message=f.message,
            data={"due_at": stamp(f.due_at)},
        )
        for f in fires
        if f.state is not FireState.FIRED
    ]
    return sorted([*made, *missed], key=lambda e: e.timestamp)


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != "message"}


def stamp(at: datetime) -> str:
    """Return a time as this API writes it: UTC, whole seconds, with its offset."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def when(at: datetime | None) -> str | None:
    """As ``stamp``, None for None."""
    return None if at is None else stamp(at)
