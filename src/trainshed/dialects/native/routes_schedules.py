"""Schedules: make, look at, change, fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trainshed.dialects.native import answers, schedules, schema, schema_schedules
from trainshed.dialects.native.answers_schedules import Fire, Schedule, Times
from trainshed.dialects.native.parameters import (
    Cursor,
    Limit,
    ScheduleRef,
    after,
    before,
    following,
    following_seq,
)
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Called
from trainshed.ports.schedules import ScheduleFilter
from trainshed.usecases import firing
from trainshed.usecases import schedules as verbs


def preview_schedule(call: Called, body: schema_schedules.PreviewBody) -> Times:
    """Say when an expression fires next; makes nothing."""
    return Times(items=verbs.preview(call.deps, body.cron, body.zone))


def create_schedule(call: Called, body: schema_schedules.ScheduleBody) -> Schedule:
    """Make a Schedule."""
    made = verbs.create(call.deps, schedules.to_new(body, call.principal))
    return schedules.to_schedule(made)


def list_schedules(
    call: Called, limit: Limit = 50, cursor: Cursor = None
) -> answers.Page[Schedule]:
    """List the account's Schedules, newest first."""
    start = after(call, "schedules", cursor)
    where = ScheduleFilter(call.principal.account_id)
    at = None if start is None else (start.created_at, start.id)
    found = verbs.listing(call.deps, where, at, 0, limit)
    more = following(call, "schedules", [v.schedule for v in found], limit)
    return answers.Page(items=[schedules.to_schedule(v) for v in found], next=more)


def get_schedule(call: Called, schedule_id: ScheduleRef) -> Schedule:
    """Show a Schedule."""
    return schedules.to_schedule(verbs.get(call.deps, call.principal, schedule_id))


def update_schedule(
    call: Called, schedule_id: ScheduleRef, body: schema_schedules.ScheduleChange
) -> Schedule:
    """Change a Schedule, pause it or let it go on."""
    change = schedules.to_change(body, call.principal)
    return schedules.to_schedule(verbs.update(call.deps, call.principal, schedule_id, change))


def delete_schedule(call: Called, schedule_id: ScheduleRef) -> None:
    """Remove a Schedule; its Jobs stay."""
    verbs.delete(call.deps, call.principal, schedule_id)


def run_schedule(call: Called, schedule_id: ScheduleRef) -> Schedule:
    """Make a Job of it at once."""
    return schedules.to_schedule(firing.fire_now(call.deps, call.principal, schedule_id))


def retry_schedule(call: Called, schedule_id: ScheduleRef) -> Schedule:
    """Run its last fire again; a failed Job resumes from its checkpoint."""
    return schedules.to_schedule(firing.retry(call.deps, call.principal, schedule_id))


def list_next(call: Called, schedule_id: ScheduleRef) -> Times:
    """List the next ten due times."""
    return Times(items=verbs.next_fires(call.deps, call.principal, schedule_id))


def list_fires(
    call: Called, schedule_id: ScheduleRef, limit: Limit = 50, cursor: Cursor = None
) -> answers.Page[Fire]:
    """List what came of its due times, newest first."""
    scope = f"fires:{schedule_id}"
    until = before(call, scope, cursor)
    at = None if until is None else EPOCH + timedelta(microseconds=until)
    found = verbs.fires(call.deps, call.principal, schedule_id, at, limit)
    order = [(f.due_at - EPOCH) // timedelta(microseconds=1) for f in found]
    more = following_seq(call, scope, order, limit)
    return answers.Page(items=[schedules.to_fire(f) for f in found], next=more)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SPEC, SMALL = schema.SPEC_BYTES, schema.SMALL_BYTES
ONE = "/schedules/{schedule_id}"
ROUTES = [
    Route("POST", "/schedules/preview", preview_schedule, READ, body_limit=SMALL),
    Route("POST", "/schedules", create_schedule, WRITE, 201, body_limit=SPEC, idempotent=True),
    Route("GET", "/schedules", list_schedules, READ),
    Route("GET", ONE, get_schedule, READ),
    Route("PATCH", ONE, update_schedule, WRITE, body_limit=SPEC),
    Route("DELETE", ONE, delete_schedule, WRITE, 204),
    Route("POST", f"{ONE}/run-now", run_schedule, WRITE, body_limit=SMALL, idempotent=True),
    Route("POST", f"{ONE}/retry", retry_schedule, WRITE, body_limit=SMALL, idempotent=True),
    Route("GET", f"{ONE}/next", list_next, READ),
    Route("GET", f"{ONE}/fires", list_fires, READ),
]
