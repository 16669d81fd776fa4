"""The Orchestrator's door, at its prefix and at the addresses that its document prints."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool

from trainshed.dialects.orchestrator import errors, pages, schema, translate
from trainshed.dialects.orchestrator.figures import Figures
from trainshed.domain.errors import Conflict, NotFound, TrainshedError
from trainshed.http.guards import OPEN_READ, OPEN_WRITE, PUBLIC, Alias, Door, Route
from trainshed.http.hall import Called
from trainshed.ports.deps import Deps
from trainshed.ports.schedules import ScheduleFilter
from trainshed.ports.views import ScheduleView
from trainshed.usecases import firing, logs, queries, schedules

PREFIX = "/orchestrator"
#: How many runs ``attempts`` and ``events`` look back.
RUNS = 20
EVENTS = 200
MAX_LOG = 4 * 1024**2
DRAWS = 16
PULSE_S = 1.0

JobId = Annotated[str, Path(max_length=200)]


def create(backoff_s: float) -> Any:
    """Return the endpoint that makes jobs; ``backoff_s`` is the wait before a first retry."""

    def create_job(call: Called, body: schema.JobCreate) -> schema.Job:
        """Create a training job; it waits for its schedule."""
        for _ in range(DRAWS):
            public_id = f"train-{call.deps.ids.new('schedule')[-8:]}"
            wanted = translate.to_new(body, call.principal, public_id, backoff_s)
            try:
                return translate.to_job(schedules.create(call.deps, wanted), public_id)
            except Conflict as error:
                if not error.extra.get("taken"):
                    raise _named(error, body.name) from error
        raise Conflict("No free job id was found; try again.")

    return create_job


def list_jobs(
    call: Called,
    status_filter: Annotated[str | None, Query(max_length=40)] = None,
    status: Annotated[str | None, Query(max_length=40)] = None,
    page: Annotated[int, Query(ge=1, le=schema.MAX_PAGE)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
) -> schema.Jobs:
    """List jobs, newest first; ``status`` is another name of ``status_filter``."""
    deps, who = call.deps, call.principal
    phases = translate.to_phases(status_filter or status)
    where = ScheduleFilter(who.account_id, translate.DIALECT, phases)
    found = schedules.listing(deps, where, None, (page - 1) * page_size, page_size)
    names = schedules.public_ids(deps, translate.DIALECT, [v.schedule.id for v in found])
    counted = schedules.counts(deps, who, translate.DIALECT)
    return schema.Jobs(
        jobs=[translate.to_job(v, names[v.schedule.id]) for v in found],
        total=sum(n for phase, n in counted.items() if not phases or phase in phases),
        page=page,
        page_size=page_size,
    )


def get_job(call: Called, job_id: JobId) -> schema.Job:
    """Show a job."""
    return translate.to_job(_found(call, job_id), job_id)


def update_job(call: Called, job_id: JobId, body: schema.JobUpdate) -> schema.Job:
    """Change what is sent, for runs to come; not while it runs."""
    seen = _found(call, job_id)
    change = translate.to_change(body, seen.schedule)
    try:
        changed = schedules.update(call.deps, call.principal, seen.schedule.id, change, True)
    except Conflict as error:
        raise _named(error, body.name) from error
    return translate.to_job(changed, job_id)


def delete_job(call: Called, job_id: JobId) -> None:
    """Remove a job; not while it runs."""
    schedules.delete(call.deps, call.principal, _found(call, job_id).schedule.id, True)


def retry_job(call: Called, job_id: JobId) -> schema.RetriedJob:
    """Run a failed or completed job again now."""
    view = firing.retry(call.deps, call.principal, _found(call, job_id).schedule.id)
    fields = translate.to_job(view, job_id).model_dump()
    return schema.RetriedJob(**fields, message=f"Job {job_id} is queued to run again")


def run_now(call: Called, job_id: JobId) -> schema.Job:
    """Run a job now; its schedule stays as it is."""
    view = firing.fire_now(call.deps, call.principal, _found(call, job_id).schedule.id)
    return translate.to_job(view, job_id)


def next_runs(call: Called, job_id: JobId) -> schema.NextRuns:
    """List when a job runs next, ten times."""
    one = _found(call, job_id).schedule
    times = schedules.next_fires(call.deps, call.principal, one.id)
    shown = [translate.stamp(t) for t in times]
    return schema.NextRuns(job_id=job_id, schedule=one.cron, next_runs=shown)


def read_logs(
    call: Called,
    job_id: JobId,
    stream: Annotated[str, Query(pattern="^(stdout|stderr|system)$")] = "stdout",
    run_id: Annotated[str | None, Query(max_length=64)] = None,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    tail: Annotated[int | None, Query(ge=0, le=100_000)] = None,
    offset: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_LOG)] = 1024**2,
) -> schema.Logs:
    """Read the log of the newest run, or of one by its run_id."""
    deps, who = call.deps, call.principal
    run = _run(call, job_id, run_id)
    if tail is None:
        part = logs.read_log(deps, who, run, stream, attempt, offset, limit)
    else:
        part = logs.tail_log(deps, who, run, stream, attempt, tail)
    return translate.to_logs(job_id, run, part)


def list_attempts(call: Called, job_id: JobId) -> schema.Attempts:
    """List the executions of the newest runs, newest first."""
    deps, who = call.deps, call.principal
    one = _found(call, job_id).schedule
    found = []
    for fire in schedules.fires(deps, who, one.id, None, RUNS):
        if fire.job_id is not None:
            with contextlib.suppress(NotFound):  # a run may have been deleted since
                tried = queries.attempts(deps, who, fire.job_id)
                found += [translate.to_attempt(fire, a) for a in reversed(tried)]
    return schema.Attempts(job_id=job_id, attempts=found)


def list_events(call: Called, job_id: JobId) -> schema.Events:
    """List what happened to the newest run, and which fires made none, oldest first."""
    deps, who = call.deps, call.principal
    view = _found(call, job_id)
    fires = schedules.fires(deps, who, view.schedule.id, None, RUNS)
    run = view.job
    kept = run is not None and run.deleted_at is None
    found = queries.events(deps, who, 0, EVENTS, run.id) if run is not None and kept else []
    return schema.Events(job_id=job_id, events=translate.to_events(fires, found))


def stats(call: Called) -> schema.Stats:
    """Count jobs by status."""
    return translate.to_stats(schedules.counts(call.deps, call.principal, translate.DIALECT))


class Pulse:
    """Whether the database answers, asked once a second at most: nobody counts who asks."""

    def __init__(self) -> None:
        self._until, self._asking = 0.0, False
        self._said: schema.Health | None = None

    async def health(self, call: Called) -> schema.Health:
        """Say whether the server can work; 200 also when degraded."""
        clock = call.deps.clock
        if self._said is None or (clock.monotonic() >= self._until and not self._asking):
            self._asking = True
            try:
                self._said = await run_in_threadpool(_health, call.deps)
                self._until = clock.monotonic() + PULSE_S
            finally:
                self._asking = False
        return self._said.model_copy(update={"timestamp": translate.stamp(clock.utc_now())})


def _health(deps: Deps) -> schema.Health:
    try:
        deps.store.read(lambda tx: tx.records.get_meta("health"))
        connected = True
    except TrainshedError:
        connected = False
    return translate.to_health(deps.clock.utc_now(), connected)


def front(deps: Deps) -> Mapping[str, Any]:
    """Return what clients of this API expect of ``GET /``."""
    return _health(deps).model_dump()


def _found(call: Called, job_id: str) -> ScheduleView:
    found = schedules.find(call.deps, call.principal, translate.DIALECT, job_id)
    if found is None:
        raise NotFound(f"Job {job_id[:100]} not found")
    return found


def _run(call: Called, job_id: str, run_id: str | None) -> str:
    """Return the core's id of a run of the job: the newest unless one is named."""
    view = _found(call, job_id)
    if run_id is None:
        if view.job is None:
            raise NotFound(f"Job {job_id} has not run yet")
        return view.job.id
    if schedules.schedule_of(call.deps, run_id) != view.schedule.id:
        raise NotFound(f"Job {job_id} has no run {run_id}")
    return run_id


def _named(error: Conflict, name: str) -> Conflict:
    """Return a conflict of names in this API's words."""
    if error.extra.get("field") != "name":
        return error
    return Conflict(f"Job with name '{name}' already exists")


BODY, SMALL = schema.BODY_BYTES, schema.SMALL_BYTES
ONE = "/jobs/{job_id}"


def door(backoff_s: float) -> Door:
    """Return the door; ``backoff_s`` is the wait before a job's first retry."""
    health = Pulse().health
    routes = [
        Route("GET", "", health, PUBLIC, hidden=True, vital=True),
        Route("GET", "/", health, PUBLIC, hidden=True, vital=True),
        Route("GET", "/health", health, PUBLIC, vital=True),
        Route("POST", "/jobs", create(backoff_s), OPEN_WRITE, 201, body_limit=BODY,
              idempotent=True),
        Route("GET", "/jobs", list_jobs, OPEN_READ),
        Route("GET", ONE, get_job, OPEN_READ),
        Route("PUT", ONE, update_job, OPEN_WRITE, body_limit=BODY),
        Route("DELETE", ONE, delete_job, OPEN_WRITE, 204, body_limit=SMALL),
        Route("POST", f"{ONE}/retry", retry_job, OPEN_WRITE, body_limit=SMALL),
        Route("POST", f"{ONE}/run-now", run_now, OPEN_WRITE, body_limit=SMALL),
        Route("GET", f"{ONE}/next-runs", next_runs, OPEN_READ),
        Route("GET", f"{ONE}/logs", read_logs, OPEN_READ),
        Route("GET", f"{ONE}/attempts", list_attempts, OPEN_READ),
        Route("GET", f"{ONE}/events", list_events, OPEN_READ),
        Route("GET", "/stats", stats, OPEN_READ),
        *pages.routes(PREFIX),
    ]  # fmt: skip
    return Door(
        translate.DIALECT, PREFIX, routes, "The Training Job Orchestrator's API",
        errors.render, f"{PREFIX}/openapi.json",
        aliases=[Alias(path, path) for path in ("/jobs", "/stats", "/health", "/docs", "/redoc")],
        strict=False, error=errors.DESCRIPTION, front=front, figures=Figures(), counted=True,
        pages={"Try it (Swagger UI)": "/docs", "Reference (ReDoc)": "/redoc"},
    )  # fmt: skip
