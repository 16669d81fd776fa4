"""The endpoints of ``wire.v1``. Each is one transaction, awaited without a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from trainshed.dialects.runner import translate
from trainshed.domain.bench import MAX_PARCEL_BYTES
from trainshed.domain.errors import (
    InvalidInput,
    NotAuthenticated,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    TrainshedError,
)
from trainshed.http.guards import RUNNER, Door, Route
from trainshed.ports.store import Tx
from trainshed.ports.streams import LOG_STREAMS
from trainshed.usecases import attempts, benches, heartbeats, logs, metrics, registries
from trainshed.usecases.engine import Engine, job_token
from trainshed.wire import v1

T = TypeVar("T")
Handler = Callable[[Engine, str, Request], Awaitable[Response]]

MAX_BODY = 4 * 1024**2
MAX_MANIFEST = 64 * 1024**2
BLOCK = 1024**2
LONG_POLL_S = 20
#: The runners' own: their heartbeats never wait for a thread behind other people's requests.
THREADS = 16
#: Wake-ups may be lost between looking and waiting; the row is looked at again this often.
RECHECK_S = 1.0

#: code -> HTTP status; what is not here is 500.
STATUS = {
    "invalid_input": 400,
    "not_authenticated": 401,
    "not_found": 404,
    "stale_lease": 409,
    "illegal_transition": 409,
    "offset_mismatch": 409,
    "digest_conflict": 409,
    "conflict": 409,
    "too_large": 413,
    "overloaded": 503,
    "unavailable": 503,
    "storage_full": 507,
    "quota_exceeded": 507,
}


def door(engine: Engine, python: str) -> Door:
    """Return the door; ``python`` is the interpreter of the default environment."""
    threads = anyio.CapacityLimiter(THREADS)
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/assignment", _assignment(python)),
        ("POST", "/started", _started),
        ("POST", "/heartbeat", _heartbeat),
        ("GET", "/orders", _orders),
        ("POST", "/streams/{stream}", _stream),
        ("POST", "/metrics", _metrics),
        ("GET", "/inputs/{index:int}", _download(resume=False)),
        ("GET", "/resume/{index:int}", _download(resume=True)),
        ("PUT", "/blobs", _blob),
        ("POST", "/checkpointing", _checkpointing),
        ("PUT", "/measurement", _measure),
        ("GET", "/measurement", _measured),
        ("POST", "/artifacts", _artifacts),
        ("POST", "/finished", _finished),
    ]
    routes = [
        Route(
            method, path, _guarded(engine, handler, threads), RUNNER,
            raw=True, hidden=True, body_limit=engine.deps.policy.max_artifact_bytes,
        )
        for method, path, handler in table
    ]  # fmt: skip
    return Door("runner", v1.PREFIX + "/{attempt_id}", routes, listed=False)


def _guarded(
    engine: Engine, handler: Handler, threads: anyio.CapacityLimiter
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request.state.threads = threads
        attempt_id = request.path_params["attempt_id"]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme != "Bearer" or not token:
                raise NotAuthenticated("A runner token is needed.")
            if engine.leases.get(attempt_id) is None:
                await _aside(request, _known, engine, attempt_id, token)
            else:
                attempts.authenticate(engine, attempt_id, token)
            return await handler(engine, attempt_id, request)
        except TrainshedError as error:
            body = {"code": error.code, "detail": error.detail, **error.extra}
            return JSONResponse(body, STATUS.get(error.code, 500))

    return endpoint


def _known(engine: Engine, attempt_id: str, token: str) -> None:
    try:
        attempts.authenticate(engine, attempt_id, token)
    except NotFound as error:
        raise NotAuthenticated("There is no such attempt.") from error


async def _aside(request: Request, fn: Callable[..., T], *args: Any) -> T:
    """Run what may block in one of the runners' threads."""
    return await anyio.to_thread.run_sync(fn, *args, limiter=request.state.threads)


async def _commit(engine: Engine, fn: Callable[[Tx], T]) -> T:
    return await asyncio.wrap_future(engine.deps.store.submit(fn))


async def _json(request: Request, limit: int = MAX_BODY) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(await _body(request, limit))
    except msgspec.DecodeError as error:
        raise InvalidInput("The body is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInput("The body must be a JSON object.")
    return found


async def _body(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge("The message is too large.", limit_bytes=limit)
        parts.append(part)
    return b"".join(parts)


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput(f"{name} must be a whole number.", field=name)
    return int(text)


def _wait_s(request: Request) -> int:
    text = request.query_params.get("wait_s", "0")
    return min(int(text), LONG_POLL_S) if text.isdigit() else 0


def _assignment(python: str) -> Handler:
    async def handler(engine: Engine, attempt_id: str, request: Request) -> Response:
        work = await _commit(engine, attempts.beginning(engine, attempt_id))
        deps = engine.deps
        env: dict[str, str] = {}
        if work.sealed_env is not None:
            plain = deps.secrets.unseal(work.sealed_env)
            env = msgspec.json.decode(plain, type=dict[str, str])
        token = job_token(deps, attempt_id)
        message = translate.to_assignment(work, env, token, python, deps.policy, deps.public_url)
        login = work.login and registries.opened(deps, work.login)
        if login is not None:
            message.container["credentials"] = login
        return JSONResponse(message.to_json())

    return handler


def _reply(order: str | None) -> Response:
    return JSONResponse({"order": None if order is None else {"kind": order}})


async def _started(engine: Engine, attempt_id: str, request: Request) -> Response:
    start = translate.to_start(await _json(request))
    order = await _commit(engine, attempts.started(engine, attempt_id, start))
    engine.deps.bus.notify("events")
    return _reply(order)


async def _checkpointing(engine: Engine, attempt_id: str, request: Request) -> Response:
    active = (await _json(request)).get("active")
    if not isinstance(active, bool):
        raise InvalidInput("active must be true or false.", field="active")
    order = await _commit(engine, attempts.checkpointing(engine, attempt_id, active))
    engine.deps.bus.notify("events")
    return _reply(order)


async def _heartbeat(engine: Engine, attempt_id: str, request: Request) -> Response:
    await _json(request)
    if heartbeats.beat(engine, attempt_id):
        return _reply(None)
    return _reply(await _aside(request, heartbeats.heartbeat, engine, attempt_id))


async def _orders(engine: Engine, attempt_id: str, request: Request) -> Response:
    until = engine.deps.clock.monotonic() + _wait_s(request)
    ask = heartbeats.heartbeat  # the first look comes from a runner that lives, later ones from us
    while True:
        order = await _aside(request, ask, engine, attempt_id)
        ask = heartbeats.order_for
        left = until - engine.deps.clock.monotonic()
        if order == "checkpoint":
            await _commit(engine, attempts.delivered(attempt_id))
            engine.deps.bus.notify("events")
        if order is not None or left <= 0 or engine.deps.bus.closing:
            return _reply(order)
        await engine.deps.bus.wait(f"orders:{attempt_id}", min(left, RECHECK_S))


async def _stream(engine: Engine, attempt_id: str, request: Request) -> Response:
    stream = request.path_params["stream"]
    if stream not in LOG_STREAMS:
        raise InvalidInput(f"There is no stream {stream!r}.")
    offset = _whole(request, "offset")
    data = await _body(request, MAX_BODY)
    step = logs.appending(engine, attempt_id, stream, offset, data)
    return await _appended(engine, attempt_id, await _commit(engine, step))


async def _metrics(engine: Engine, attempt_id: str, request: Request) -> Response:
    offset = _whole(request, "offset")
    points = translate.to_points(await _json(request))
    step = metrics.appending(engine, attempt_id, offset, points)
    return await _appended(engine, attempt_id, await _commit(engine, step))


async def _appended(engine: Engine, attempt_id: str, result: tuple[int, bool]) -> Response:
    offset, full = result
    engine.deps.bus.notify(f"stream:{attempt_id}")
    if full:
        raise TooLarge("The stream has reached its limit; the rest is dropped.", next=offset)
    return JSONResponse({"next": offset})


def _download(resume: bool) -> Handler:
    async def handler(engine: Engine, attempt_id: str, request: Request) -> Response:
        account, files = await _aside(request, attempts.files_of, engine, attempt_id, resume)
        index = request.path_params["index"]
        if not 0 <= index < len(files):
            raise NotFound("There is no input with that index.")
        found = await _aside(request, engine.deps.blobs.open, account, files[index].blob.md5)
        headers = {"Content-Length": str(files[index].blob.size_bytes)}
        return StreamingResponse(_blocks(found), media_type=_BYTES, headers=headers)

    return handler


_BYTES = "application/octet-stream"


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


async def _blob(engine: Engine, attempt_id: str, request: Request) -> Response:
    deps = engine.deps
    size = _whole(request, "size")
    account = await _aside(request, _room, engine, attempt_id, size)
    writer = await _aside(request, deps.blobs.writer, account)
    seen, pending = 0, bytearray()
    try:
        async for part in request.stream():
            seen += len(part)
            if seen > size:
                raise TooLarge("More bytes than announced.", limit_bytes=size)
            pending += part
            if len(pending) >= BLOCK:
                await _aside(request, writer.write, bytes(pending))
                pending.clear()
        if seen != size:
            raise InvalidInput("Fewer bytes than announced; send it again.")
        query = request.query_params
        ref = await _aside(
            request, _publish, writer, bytes(pending), query.get("md5"), query.get("sha256")
        )
    finally:
        writer.abort()
    return JSONResponse({"md5": ref}, 201)


def _publish(writer: Any, rest: bytes, md5: str | None, sha256: str | None) -> str:
    writer.write(rest)
    return str(writer.commit(md5, sha256).md5)


def _room(engine: Engine, attempt_id: str, size: int) -> str:
    """Return the account if ``size`` more bytes fit its quota, the Attempt's limit and the disk."""
    deps, policy = engine.deps, engine.deps.policy

    def load(tx: Tx) -> tuple[str, int, int | None]:
        account = tx.people.get_account(attempts.live(tx, attempt_id).account_id)
        return account.id, tx.files.used_bytes(account.id), account.quota_bytes

    account_id, used, quota = deps.store.read(load)
    limit = policy.default_quota_bytes if quota is None else quota
    if size > policy.max_artifact_bytes or used + size > limit:
        raise QuotaExceeded(
            "The account's storage quota is used up; delete old jobs or uploads.",
            limit_bytes=limit,
        )
    if deps.blobs.free_bytes() - size < policy.min_free_bytes:
        raise StorageFull("The server's disk is nearly full.")
    return account_id


async def _measure(engine: Engine, attempt_id: str, request: Request) -> Response:
    data = await _body(request, MAX_PARCEL_BYTES)
    board = await _commit(engine, benches.asking(engine, attempt_id, data))
    engine.deps.bus.notify(benches.topic(board))
    return JSONResponse({}, 202)


async def _measured(engine: Engine, attempt_id: str, request: Request) -> Response:
    deps = engine.deps
    until = deps.clock.monotonic() + _wait_s(request)
    while True:
        found = await _aside(request, benches.outcome, deps, attempt_id)
        left = until - deps.clock.monotonic()
        if found is None and deps.bus.closing:
            return Response(status_code=204)
        if found is None and left <= 0:
            found = await _aside(request, benches.given_up, engine, attempt_id)
            if found is None:
                return Response(status_code=204)
        if found is None:
            await deps.bus.wait(f"measured:{attempt_id}", min(left, RECHECK_S))
        elif found.failure:
            return JSONResponse({"detail": found.failure}, 424)
        else:
            return Response(found.parcel, media_type=_BYTES)


async def _artifacts(engine: Engine, attempt_id: str, request: Request) -> Response:
    data = await _json(request, MAX_MANIFEST)
    deps = engine.deps
    draft, runtime_ms = translate.to_artifact(data, deps.ids.new("artifact"), deps.clock.utc_now())
    made = await _aside(request, attempts.collect, engine, attempt_id, draft, runtime_ms)
    return JSONResponse({"id": made.id}, 201)


async def _finished(engine: Engine, attempt_id: str, request: Request) -> Response:
    ending = translate.to_ending(await _json(request))
    await _commit(engine, attempts.finishing(engine, attempt_id, ending))
    attempts.finished(engine, attempt_id)
    return JSONResponse({})
