"""Benches: a program beside a real board attaches it here, asks for work and answers.

Operators' keys only: what is measured are other people's models.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from trainshed.dialects.native import answers, schema
from trainshed.dialects.native import answers_boards as shapes
from trainshed.domain.bench import LEASE, MAX_PARCEL_BYTES, Bench, Measured
from trainshed.domain.ids import parse_id
from trainshed.domain.people import Right
from trainshed.http.entry import read_body
from trainshed.http.guards import OPERATOR_READ, Guard, Kind, Route
from trainshed.http.hall import Call, Called
from trainshed.usecases import benches

LONG_POLL_S = 20
#: What waits may be given back by a bench that fell silent: it is looked for this often.
RECHECK_S = 1.0
#: A key for writing suffices: it lies on a computer beside the board.
BENCH = Guard(Kind.OPERATOR, Right.WRITE)

BenchRef = Annotated[str, Path(max_length=64)]
MeasurementRef = Annotated[str, Path(max_length=64)]
Wait = Annotated[int, Query(ge=0, le=LONG_POLL_S)]


def list_benches(call: Called) -> answers.Items[shapes.Bench]:
    """List the real boards that are attached."""
    return answers.Items(items=[to_bench(one) for one in benches.listing(call.deps)])


def attach_bench(call: Called, body: schema.BenchBody) -> shapes.Bench:
    """Attach a real board: from now on requests for it are measured there."""
    return to_bench(
        benches.attach(
            call.deps, call.principal, body.board, body.name, body.version,
            call.hall.settings.version,
        )
    )  # fmt: skip


def renew_bench(call: Called, bench_id: BenchRef) -> shapes.Bench:
    """Say that it is still there, while it measures."""
    return to_bench(benches.renew(call.deps, parse_id("bench", bench_id)))


async def next_measurement(
    call: Called, request: Request, bench_id: BenchRef, wait_s: Wait = 0
) -> shapes.Measurement:
    """Wait for something to measure; asking says that the bench is there."""
    deps, id_ = call.deps, parse_id("bench", bench_id)
    until = deps.clock.monotonic() + wait_s
    bench = await run_in_threadpool(benches.renew, deps, id_)
    while not await request.is_disconnected():
        found = await run_in_threadpool(benches.take, deps, id_)
        left = until - deps.clock.monotonic()
        if found is not None or left <= 0 or deps.bus.closing:
            return shapes.Measurement(id=found.attempt_id if found else None, board=bench.board)
        await deps.bus.wait(benches.topic(bench.board), min(left, RECHECK_S))
    return shapes.Measurement(id=None, board=bench.board)


def detach_bench(call: Called, bench_id: BenchRef) -> None:
    """Let it go; what it has waits for another bench."""
    benches.detach(call.deps, call.principal, parse_id("bench", bench_id))


async def get_parcel(request: Request) -> Response:
    """Give what is to be measured."""
    call: Call = request.state.call
    data = await run_in_threadpool(benches.parcel, call.deps, *_ids(request))
    return Response(data, media_type=_BYTES)


async def put_parcel(request: Request) -> Response:
    """Take what was measured."""
    call: Call = request.state.call
    data = await read_body(request, MAX_PARCEL_BYTES)
    await run_in_threadpool(benches.answer, call.deps, *_ids(request), Measured(data))
    return Response(status_code=204)


def fail_measurement(
    call: Called, bench_id: BenchRef, measurement_id: MeasurementRef, body: schema.FailureBody
) -> None:
    """Say why it could not be measured: the run is given back to its owner."""
    ids = parse_id("bench", bench_id), parse_id("attempt", measurement_id)
    benches.answer(call.deps, *ids, Measured(failure=body.message))


def _ids(request: Request) -> tuple[str, str]:
    path = request.path_params
    return parse_id("bench", path["bench_id"]), parse_id("attempt", path["measurement_id"])


def to_bench(one: Bench) -> shapes.Bench:
    """Return a bench."""
    return shapes.Bench(
        id=one.id, board=one.board, name=one.name, attached_at=one.attached_at,
        seen_at=one.seen_at, lease_s=LEASE.total_seconds(),
    )  # fmt: skip


_BYTES = "application/octet-stream"
_CONTENT = {"content": {_BYTES: {"schema": {"type": "string"}}}}
_OUT = {
    "summary": "Give what is to be measured.",
    "responses": {"200": {"description": "The image and its inputs", **_CONTENT}},
}
_IN = {"summary": "Take what was measured.", "requestBody": {"required": True, **_CONTENT}}
ONE = "/benches/{bench_id}"
WORK = f"{ONE}/measurements/{{measurement_id}}"
SMALL = schema.SMALL_BYTES
ROUTES = [
    Route("GET", "/benches", list_benches, OPERATOR_READ),
    Route("POST", "/benches", attach_bench, BENCH, 201, body_limit=SMALL),
    Route("POST", f"{ONE}/renew", renew_bench, BENCH),
    Route("POST", f"{ONE}/next", next_measurement, BENCH),
    Route("DELETE", ONE, detach_bench, BENCH, 204),
    Route("GET", WORK, get_parcel, BENCH, raw=True, document=_OUT),
    Route("PUT", WORK, put_parcel, BENCH, 204, raw=True, document=_IN),
    Route("POST", f"{WORK}/failed", fail_measurement, BENCH, 204, body_limit=SMALL),
]
