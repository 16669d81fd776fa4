"""Jobs: make, look at, control."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime
from starlette.responses import Response

from trainshed.dialects.native import answers, schema, translate
from trainshed.dialects.native.parameters import (
    ArtifactRef,
    Cursor,
    JobRef,
    Limit,
    OfferRef,
    Seq,
    Step,
    Word,
    after,
    following,
)
from trainshed.domain.artifact import ArtifactKind
from trainshed.domain.errors import InvalidInput
from trainshed.http.guards import JOB_READ, OPERATOR, READ, WRITE, Route
from trainshed.http.hall import Called
from trainshed.ports.store import JobFilter
from trainshed.usecases import control, drains, logs, metrics, queries, submit

MAX_LOG = 4 * 1024**2
RAW_HEADERS = {
    "Content-Disposition": 'attachment; filename="log.txt"',
    "Content-Security-Policy": "sandbox",
}


def plan_job(call: Called, body: schema.JobBody) -> answers.Plan:
    """Say what submitting would mean; makes nothing."""
    return translate.to_plan(submit.plan(call.deps, translate.to_command(body, call.principal)))


def create_job(call: Called, body: schema.JobBody) -> answers.Job:
    """Submit a Job."""
    command = replace(translate.to_command(body, call.principal), once=call.once)
    return translate.to_job(submit.submit(call.deps, command))


def list_jobs(
    call: Called,
    state: Annotated[list[schema.State] | None, Query(max_length=7)] = None,
    name: Annotated[Word | None, Query()] = None,
    pool: Annotated[Word | None, Query()] = None,
    workload: Annotated[Word | None, Query()] = None,
    label: Annotated[list[str] | None, Query(max_length=64)] = None,
    created_after: Annotated[AwareDatetime | None, Query()] = None,
    created_before: Annotated[AwareDatetime | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> answers.Page[answers.Job]:
    """List the account's Jobs, newest first."""
    where = JobFilter(
        states=tuple(state or ()),
        name=name,
        pool=pool,
        workload=workload,
        labels=_labels(label or []),
        created_after=created_after,
        created_before=created_before,
    )
    views = queries.list_jobs(call.deps, call.principal, where, after(call, "jobs", cursor), limit)
    more = following(call, "jobs", [v.job for v in views], limit)
    return answers.Page(items=[translate.to_job(v) for v in views], next=more)


def _labels(given: list[str]) -> dict[str, str]:
    out = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name or len(text) > 400:
            raise InvalidInput("label must be NAME:VALUE.", field="label")
        out[name] = value
    return out


def get_job(call: Called, job_id: JobRef) -> answers.Job:
    """Show a Job."""
    return translate.to_job(queries.get_job(call.deps, call.principal, job_id))


def set_priority(call: Called, job_id: JobRef, body: schema.PriorityBody) -> answers.Job:
    """Change the place in the queue."""
    view = control.set_priority(call.deps, call.principal, job_id, body.priority)
    return translate.to_job(view)


def delete_job(call: Called, job_id: JobRef) -> None:
    """Remove an ended Job and its files."""
    control.delete(call.deps, call.principal, job_id)


def cancel_job(call: Called, job_id: JobRef) -> answers.Job:
    """Ask a Job to end."""
    return translate.to_job(control.cancel(call.deps, call.principal, job_id))


def pause_job(call: Called, job_id: JobRef) -> answers.Job:
    """Ask a Job to stop at a checkpoint."""
    return translate.to_job(control.pause(call.deps, call.principal, job_id))


def resume_job(call: Called, job_id: JobRef) -> answers.Job:
    """Queue a paused Job again."""
    return translate.to_job(control.resume(call.deps, call.principal, job_id))


def retry_job(call: Called, job_id: JobRef) -> answers.Job:
    """Submit an ended Job again, as a new one."""
    return translate.to_job(control.retry(call.deps, call.principal, job_id))


def request_checkpoint(call: Called, job_id: JobRef) -> None:
    """Ask the running Attempt for a snapshot."""
    control.request_checkpoint(call.deps, call.principal, job_id)


def list_attempts(call: Called, job_id: JobRef) -> answers.Items[answers.Attempt]:
    """List the Job's executions."""
    view = queries.get_job(call.deps, call.principal, job_id)
    pool = view.job.pool
    return answers.Items(items=[translate.to_attempt(a, pool) for a in view.attempts])


def list_job_events(
    call: Called,
    job_id: JobRef,
    after_seq: Seq = 0,
    limit: Limit = 50,
    cursor: Annotated[Seq | None, Query()] = None,
) -> answers.Page[answers.Event]:
    """List what happened to the Job, oldest first."""
    first = after_seq if cursor is None else cursor
    found = queries.events(call.deps, call.principal, first, limit, job_id)
    more = str(found[-1].seq) if len(found) == limit else None
    return answers.Page(items=[translate.to_event(e) for e in found], next=more)


def read_log(
    call: Called,
    job_id: JobRef,
    stream: schema.Stream = "stdout",
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    offset: Seq = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_LOG)] = 65_536,
    tail: Annotated[int | None, Query(ge=0, le=100_000)] = None,
    raw: bool = False,
) -> answers.Log:
    """Read a piece of a log: from an offset, or the last lines."""
    deps, who = call.deps, call.principal
    if tail is None:
        part = logs.read_log(deps, who, job_id, stream, attempt, offset, limit)
    else:
        part = logs.tail_log(deps, who, job_id, stream, attempt, tail)
    if raw:
        return Response(part.data, 200, RAW_HEADERS, _BYTES)  # type: ignore[return-value]
    return translate.to_log(part)


_BYTES = "application/octet-stream"


def read_metrics(
    call: Called,
    job_id: JobRef,
    key: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    max_points: Annotated[int, Query(ge=1, le=metrics.MAX_POINTS)] = 2000,
    first_step: Step = None,
    last_step: Step = None,
) -> answers.Items[answers.Metric] | answers.Series:
    """List the Job's metrics, or read one."""
    deps, who = call.deps, call.principal
    if key is None:
        found = metrics.keys(deps, who, job_id)
        return answers.Items(items=[translate.to_metric(*one) for one in found])
    view = metrics.series(deps, who, job_id, key, max_points, first_step, last_step)
    return translate.to_series(view)


def list_artifacts(call: Called, job_id: JobRef) -> answers.Items[answers.Artifact]:
    """List what the Job left."""
    found = queries.artifacts(call.deps, call.principal, job_id)
    return answers.Items(items=[translate.to_artifact(a) for a in found])


def list_checkpoints(call: Called, job_id: JobRef) -> answers.Items[answers.Artifact]:
    """List what the Job can resume from."""
    kind = ArtifactKind.CHECKPOINT
    found = queries.artifacts(call.deps, call.principal, job_id, kind)
    return answers.Items(items=[translate.to_artifact(a) for a in found])


def pin_checkpoint(
    call: Called, job_id: JobRef, artifact_id: ArtifactRef, body: schema.PinBody
) -> answers.Artifact:
    """Keep a checkpoint, or stop keeping it."""
    changed = queries.pin(call.deps, call.principal, job_id, artifact_id, body.pinned)
    return translate.to_artifact(changed)


def get_receipt(call: Called, job_id: JobRef) -> answers.Receipt:
    """Show what an ended Job cost."""
    return translate.to_receipt(queries.receipt(call.deps, call.principal, job_id))


def list_offers(call: Called) -> answers.Offers:
    """List what is for hire now."""
    return answers.Offers(
        items=[translate.to_offer(o) for o in queries.offers(call.deps)],
        pools=[translate.to_pool(p) for p in call.deps.pools],
    )


def drain_offer(call: Called, offer_id: OfferRef) -> answers.Offer:
    """Let a machine take nothing new; what runs there moves on with its checkpoint."""
    return translate.to_offer(drains.drain(call.deps, call.principal, offer_id))


def undrain_offer(call: Called, offer_id: OfferRef) -> answers.Offer:
    """End a drain."""
    return translate.to_offer(drains.undrain(call.deps, call.principal, offer_id))


SPEC, SMALL = schema.SPEC_BYTES, schema.SMALL_BYTES
ROUTES = [
    Route("POST", "/jobs/plan", plan_job, WRITE, body_limit=SPEC),
    Route("POST", "/jobs", create_job, WRITE, 201, body_limit=SPEC, idempotent=True),
    Route("GET", "/jobs", list_jobs, READ),
    Route("GET", "/jobs/{job_id}", get_job, JOB_READ),
    Route("PATCH", "/jobs/{job_id}", set_priority, WRITE, body_limit=SMALL),
    Route("DELETE", "/jobs/{job_id}", delete_job, WRITE, 204),
    Route("POST", "/jobs/{job_id}/cancel", cancel_job, WRITE, body_limit=SMALL),
    Route("POST", "/jobs/{job_id}/pause", pause_job, WRITE, body_limit=SMALL),
    Route("POST", "/jobs/{job_id}/resume", resume_job, WRITE, body_limit=SMALL),
    Route(
        "POST", "/jobs/{job_id}/retry", retry_job, WRITE, 201, body_limit=SMALL, idempotent=True
    ),
    Route("POST", "/jobs/{job_id}/checkpoint", request_checkpoint, WRITE, 202, body_limit=SMALL),
    Route("GET", "/jobs/{job_id}/attempts", list_attempts, READ),
    Route("GET", "/jobs/{job_id}/events", list_job_events, READ),
    Route("GET", "/jobs/{job_id}/logs", read_log, JOB_READ),
    Route("GET", "/jobs/{job_id}/metrics", read_metrics, JOB_READ),
    Route("GET", "/jobs/{job_id}/artifacts", list_artifacts, JOB_READ),
    Route("GET", "/jobs/{job_id}/checkpoints", list_checkpoints, JOB_READ),
    Route(
        "PATCH", "/jobs/{job_id}/checkpoints/{artifact_id}", pin_checkpoint, WRITE,
        body_limit=SMALL,
    ),
    Route("GET", "/jobs/{job_id}/receipt", get_receipt, READ),
    Route("GET", "/offers", list_offers, READ),
    Route("POST", "/offers/{offer_id}/drain", drain_offer, OPERATOR, body_limit=SMALL),
    Route(
        "POST", "/offers/{offer_id}/undrain", undrain_offer, OPERATOR,
        body_limit=SMALL,
    ),
]  # fmt: skip
