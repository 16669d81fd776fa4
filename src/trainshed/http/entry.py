"""How a request gets in: guard, rate limit, size, JSON, Idempotency-Key, in this order, before the
endpoint sees it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_type_hints

import msgspec
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trainshed.domain.errors import InvalidInput, NotAuthenticated, TooLarge
from trainshed.domain.people import Principal
from trainshed.http.auth import credential
from trainshed.http.errors import UnsupportedMediaType
from trainshed.http.guards import Door, Guard, Kind, Route
from trainshed.http.hall import ADDRESS, OPEN, Call, Hall

Handler = Callable[[Request], Awaitable[Response]]
MAX_DEPTH = 32
INT64 = 2**63


def guarded(hall: Hall, route: Route) -> Handler:
    """Return a raw endpoint behind its guard; it reads its own body and bounds it itself."""

    async def enter(request: Request) -> Response:
        with _working(hall, route):
            await admit(hall, route, request)
        if route.body_limit is not None:
            announced(request, route.body_limit)
        response: Response = await route.endpoint(request)
        return response

    return enter


class GuardedRoute(APIRoute):
    """A FastAPI route whose guard acts before the body is read."""

    def __init__(self, path: str, hall: Hall, door: Door, entry: Route) -> None:
        """Make the route of one table entry."""
        self.hall, self.entry, self.strict = hall, entry, door.strict
        name = entry.endpoint.__name__
        returns = get_type_hints(entry.endpoint).get("return")
        shape = None if returns in (None, type(None), Response) else returns
        super().__init__(
            path,
            _answering(entry, shape),
            methods=[entry.method],
            response_model=shape,
            response_class=JSONResponse if shape is not None else Response,
            status_code=entry.status,
            operation_id=f"{door.name}_{name}",
            tags=[door.name],
            include_in_schema=not entry.hidden and path.startswith(door.prefix),
            openapi_extra=dict(entry.document),
        )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        inner = super().get_route_handler()
        hall, entry = self.hall, self.entry
        known = _query_names(self.dependant)
        takes_body = self.body_field is not None
        strict = self.strict

        async def enter(request: Request) -> Response:
            with _working(hall, entry):
                call = await admit(hall, entry, request)
            _check_query(request, known if strict else set(request.query_params))
            body = await read_body(request, _limit(hall, entry))
            with _working(hall, entry):
                value = _decode(request, body) if takes_body and body else None
                ready = _Read(request, body, value)
                if not entry.idempotent:
                    return await inner(ready)
                once = hall.idempotency.once
                return await once(request, call.principal, body, lambda: inner(ready))

        return enter


def _working(hall: Hall, route: Route) -> contextlib.AbstractContextManager[None]:
    """Hold a place for work; health and runners need none."""
    free = route.vital or (route.guard is not None and route.guard.kind is Kind.RUNNER)
    return contextlib.nullcontext() if free else hall.admission.working()


def _answering(entry: Route, shape: Any) -> Callable[..., Any]:
    """Return the endpoint made to write its answer itself, in the thread it runs in.

    An answer goes out by its declared shape, which leaves out what the shape does not name.
    """
    function = entry.endpoint
    adapter: TypeAdapter[Any] | None = None if shape is None else TypeAdapter(shape)

    def answer(result: Any) -> Response:
        if isinstance(result, Response):
            return result
        if adapter is None:
            return Response(status_code=entry.status)
        text = adapter.dump_json(adapter.validate_python(result))
        return Response(text, entry.status, media_type="application/json")

    @functools.wraps(function)
    def plain(*args: Any, **values: Any) -> Response:
        return answer(function(*args, **values))

    @functools.wraps(function)
    async def awaited(*args: Any, **values: Any) -> Response:
        return answer(await function(*args, **values))

    return awaited if inspect.iscoroutinefunction(function) else plain


class _Read(Request):
    """A request whose body has been read and decoded already."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._bytes, self._value = body, value

    async def body(self) -> bytes:
        """Return the bytes."""
        return self._bytes

    async def json(self) -> Any:
        """Return what they say."""
        return self._value


async def admit(hall: Hall, route: Route, request: Request) -> Call:
    """Check the guard and the rate limit, and leave the Call in ``request.state``.

    Raises:
        NotAuthenticated, NotAllowed, RateLimited.
    """
    state = request.state
    principal: Principal | None = None
    presented: str | None = None
    guard = route.guard
    if guard is None:
        raise NotAuthenticated("This route is closed.")
    if guard.kind is Kind.PUBLIC:
        if not route.vital:
            _by_address(hall, request)
    elif guard.kind is not Kind.RUNNER:
        try:
            if guard.kind is Kind.OPEN_LOCAL:
                principal, presented = await hall.local.who(request, hall.auth)
            else:
                presented = credential(request.headers)
                principal = await hall.auth.who(presented)
        except NotAuthenticated:
            _by_address(hall, request)
            raise
        tier = _tier(hall, guard, principal)
        decision = hall.limiter.hit(f"{tier}:{principal.id}", tier)
        if decision is not None:
            state.headers = decision.headers
            decision.check()
        guard.check(principal)
    call = Call(hall, state.request_id, state.origin, principal, presented, headers=state.headers)
    state.call = call
    return call


def _tier(hall: Hall, guard: Guard, principal: Principal) -> str:
    """Return the limit that holds: what open mode opens has its own, where that is set; without,
    ``local`` has none there, and a person or job has the one it has everywhere.
    """
    if guard.kind is not Kind.OPEN_LOCAL:
        return principal.rate_limit
    local = principal.id == principal.account_id
    return OPEN if local or hall.settings.rate_limits.get(OPEN) else principal.rate_limit


def _by_address(hall: Hall, request: Request) -> None:
    decision = hall.limiter.hit(f"ip:{request.state.origin.address}", ADDRESS)
    if decision is not None:
        decision.check()


def _limit(hall: Hall, route: Route) -> int:
    return hall.settings.max_body_bytes if route.body_limit is None else route.body_limit


def announced(request: Request, limit: int) -> int | None:
    """Return the Content-Length. Raises TooLarge when it is above ``limit``."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput("Content-Length is not a number.")
    if int(text) > limit:
        raise TooLarge(f"The body may have {limit} bytes.", limit_bytes=limit)
    return int(text)


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; never holds more than ``limit`` bytes.

    Raises:
        TooLarge: it is larger. InvalidInput: the sender went away before its end.
    """
    announced(request, limit)
    out = bytearray()
    try:
        async for part in request.stream():
            if len(out) + len(part) > limit:
                raise TooLarge(f"The body may have {limit} bytes.", limit_bytes=limit)
            out += part
    except ClientDisconnect as error:
        raise InvalidInput("The sender went away.") from error
    return bytes(out)


def _query_names(one: Dependant) -> set[str]:
    below = [_query_names(d) for d in one.dependencies]
    return {p.alias for p in one.query_params}.union(*below)


def _check_query(request: Request, known: set[str]) -> None:
    if any("\0" in value for value in request.query_params.values()):
        raise InvalidInput("Query parameters may not hold NUL characters.")
    unknown = sorted(set(request.query_params.keys()) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"There is no query parameter {unknown[0][:100]!r} here; there is: {listed}.",
            field=unknown[0][:100],
        )


def _decode(request: Request, body: bytes) -> Any:
    """Return strict JSON: no NaN, no lone surrogates, bounded depth and integers."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or "content-encoding" in request.headers:
        raise UnsupportedMediaType(
            "Send JSON with the header Content-Type: application/json, and no Content-Encoding."
        )
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidInput("The body is not valid JSON (strict, UTF-8).") from error
    _check_value(value)
    return value


def _check_value(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels.")
        below: list[Any] = []
        for item in level:
            below.extend(_inside(item))
        level, depth = below, depth + 1


def _inside(item: Any) -> list[Any]:
    """Return what a value holds, having checked the value itself."""
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list):
        return item
    if isinstance(item, str) and "\0" in item:
        raise InvalidInput("Text in the body may not hold NUL characters.")
    if isinstance(item, int) and not -INT64 <= item < INT64:
        raise InvalidInput("Whole numbers in the body must fit 64 bits.")
    if isinstance(item, float) and item in (float("inf"), float("-inf")):
        raise InvalidInput("Numbers in the body must be finite.")
    return []
