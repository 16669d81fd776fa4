"""Jobs: make, look at, control, and their logs."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from starlette.concurrency import run_in_threadpool

from trainshed.dialects.middleman import schema, translate
from trainshed.dialects.middleman.parameters import Closed, JobRef, Limit, Offset
from trainshed.domain.environment import Environment
from trainshed.domain.errors import IllegalTransition, InvalidInput, NotFound, RateLimited
from trainshed.domain.states import JobState, Reason
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Call, Called
from trainshed.ports.store import JobFilter
from trainshed.ports.views import JobView
from trainshed.usecases import capacity, control, inputs, lines, queries, submit

#: How long an answer waits for a job to stop: its grace and what collecting its files may take.
STOP_S = 20.0
LOOK_S = 1.0
#: A job whose status has to be looked at one by one is looked for among this many.
LOOKED_AT = 1000


def create_job(call: Called, body: schema.JobBody, closed: Closed) -> schema.NewJob:
    """Create a job."""
    gpu = translate.gpu_of(body)
    wants = capacity.share_of(call.deps, gpu, body.gpu_count)
    missing: InvalidInput | None = None
    try:
        paths = _find(call, body)
    except InvalidInput as error:
        if body.script_path or error.extra.get("field") != "script":
            raise
        missing, paths = error, translate.Paths("script.py", "", ())
    command = translate.to_command(body, call.principal, paths, wants, call.once)
    if missing is not None:
        made = submit.refuse(call.deps, command, Reason.INPUT_MISSING, missing.detail)
    else:
        made = submit.submit(call.deps, command)
    view = queries.get_job(call.deps, call.principal, made.job.id)
    shown = translate.to_job(view, closed, call.deps.clock.utc_now())
    position = queries.queue_position(call.deps, view.job)
    return schema.NewJob(
        **shown.model_dump(), estimated_cost=shown.reserved_credits, queue_position=position
    )


def _find(call: Call, body: schema.JobBody) -> translate.Paths:
    """Return what the paths of a new job are. Raises InvalidInput, naming the upload command."""
    field = "script_path" if body.script_path else "script"
    script = _upload(call, translate.script_of(body), field)
    if "" not in script.files:
        raise InvalidInput(f"{field} is a folder; it must be a script.", field=field)
    refs, place = script.refs(unpack=False), ""
    if body.input_data_path:
        data = _upload(call, body.input_data_path, "input_data_path")
        if data.files != script.files:
            refs += data.refs(unpack=True)
        place = data.place(unpack=True)
    environment = Environment()
    if body.requirements_file:
        found = _upload(call, body.requirements_file, "requirements_file")
        if "" not in found.files:
            raise InvalidInput("requirements_file is a folder.", field="requirements_file")
        environment = Environment("requirements_file", found.files[""].id)
    elif (body.requirements or "").strip():
        environment = Environment("requirements", body.requirements or "")
    return translate.Paths(script.name, place, refs, environment)


def _upload(call: Call, path: str, field: str) -> inputs.Found:
    try:
        return inputs.find(call.deps, call.principal, path)
    except NotFound as error:
        base = path.rstrip("/").rsplit("/", 1)[-1]
        raise InvalidInput(
            f"{error.detail} Paths name uploaded files, not files of the server. Send it first:"
            f" middleman data upload {base}",
            field=field,
        ) from error
    except InvalidInput as error:
        raise InvalidInput(f"{field}: {error.detail}", field=field) from error


def list_jobs(
    call: Called,
    closed: Closed,
    status: Annotated[schema.Status | None, Query()] = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> schema.Jobs:
    """List the account's jobs of this door, newest first."""
    views, total = _page(call, status, limit, offset)
    now = call.deps.clock.utc_now()
    return schema.Jobs(data=[translate.to_job(v, closed, now) for v in views], total=total)


def _page(
    call: Call, status: schema.Status | None, limit: int, offset: int
) -> tuple[list[JobView], int]:
    where = translate.STATUSES[status] if status else JobFilter()
    narrowed = translate.of_door(where)
    if status not in translate.SHARED:
        return queries.job_page(call.deps, call.principal, narrowed, offset, limit)
    near, _ = queries.job_page(call.deps, call.principal, narrowed, 0, LOOKED_AT)
    found = [v for v in near if translate.status(v) == status]
    return found[offset : offset + limit], len(found)


def get_job(call: Called, job_id: JobRef, closed: Closed) -> schema.Job:
    """Show a job; a unique beginning of its id will do."""
    view = queries.get_job(call.deps, call.principal, job_id)
    return translate.to_job(view, closed, call.deps.clock.utc_now())


async def cancel_job(call: Called, job_id: JobRef, closed: Closed) -> schema.CancelledJob:
    """End a job and get back what it did not use."""
    await run_in_threadpool(control.cancel, call.deps, call.principal, job_id)
    view = await _until(call, job_id, (JobState.CANCELLED,))
    shown = translate.to_job(view, closed, call.deps.clock.utc_now())
    refunded = max(shown.reserved_credits - shown.actual_cost, 0)
    return schema.CancelledJob(**shown.model_dump(), refunded_credits=refunded)


async def pause_job(call: Called, job_id: JobRef, closed: Closed) -> schema.Job:
    """Stop a job at a checkpoint; it keeps its place in the list and costs nothing."""
    before = await run_in_threadpool(queries.get_job, call.deps, call.principal, job_id)
    if before.job.state is JobState.PAUSED:
        raise IllegalTransition("The job is paused already.")
    await run_in_threadpool(control.pause, call.deps, call.principal, job_id)
    view = await _until(call, job_id, (JobState.PAUSED,))
    return translate.to_job(view, closed, call.deps.clock.utc_now())


def resume_job(call: Called, job_id: JobRef, closed: Closed) -> schema.Job:
    """Queue a paused job again; it goes on from its last checkpoint."""
    view = control.resume(call.deps, call.principal, job_id)
    return translate.to_job(view, closed, call.deps.clock.utc_now())


async def _until(call: Call, job_id: str, states: tuple[JobState, ...]) -> JobView:
    """Return the job once it is in one of ``states`` or has ended, else as it is after a while.

    Who waits holds no place for work, and one of the caller's streams; without one it is not
    waited for.
    """
    deps, who = call.deps, call.principal
    until = deps.clock.monotonic() + STOP_S
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(call.hall.streams.slot(who.id))
        except RateLimited:
            until = 0.0
        while True:
            view = await run_in_threadpool(queries.get_job, deps, who, job_id)
            left = until - deps.clock.monotonic()
            if view.job.terminal or view.job.state in states or left <= 0:
                return view
            with call.hall.admission.resting():
                await deps.bus.wait("events", min(left, LOOK_S))


def read_logs(
    call: Called,
    job_id: JobRef,
    since: Annotated[datetime | None, Query()] = None,
    tail: Annotated[int | None, Query(ge=0, le=lines.MAX_LINES)] = None,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> schema.LogPage | schema.Logs | list[schema.LogLine]:
    """Read the log: a bare list from the beginning, with ``tail`` an object of the last lines, with
    ``after`` a page of all of it.
    """
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    if tail is not None:
        found = lines.newest(call.deps, call.principal, job_id, tail, since)
        return schema.Logs(logs=[translate.to_line(one) for one in found])
    page = lines.page(call.deps, call.principal, job_id, after or "", since)
    shown = [translate.to_line(one) for one in page.lines]
    if after is not None:
        return schema.LogPage(logs=shown, next=page.cursor)
    if page.more:
        call.headers["Link"] = f'<?after={page.cursor}>; rel="next"'
    return shown


SPEC, SMALL = schema.SPEC_BYTES, schema.SMALL_BYTES
ROUTES = [
    Route("POST", "/jobs", create_job, WRITE, 201, body_limit=SPEC, idempotent=True),
    Route("GET", "/jobs", list_jobs, READ),
    Route("GET", "/jobs/{job_id}", get_job, READ),
    Route("POST", "/jobs/{job_id}/cancel", cancel_job, WRITE, body_limit=SMALL),
    Route("POST", "/jobs/{job_id}/pause", pause_job, WRITE, body_limit=SMALL),
    Route("POST", "/jobs/{job_id}/resume", resume_job, WRITE, body_limit=SMALL),
    Route("GET", "/jobs/{job_id}/logs", read_logs, READ),
]
