"""The app factory: doors in, one FastAPI app out in which nothing is open by accident."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as RawRoute
from starlette.routing import compile_path

from trainshed.domain.errors import InvalidInput, NotFound, TooLarge, TrainshedError
from trainshed.http.entry import GuardedRoute, guarded
from trainshed.http.errors import InternalError, MethodNotAllowed, UnsupportedMediaType
from trainshed.http.front import Front
from trainshed.http.guards import OPERATOR_READ, PUBLIC, Door, Route, check_doors
from trainshed.http.hall import Hall, HttpSettings
from trainshed.http.measures import Measures
from trainshed.http.openapi import combined, part
from trainshed.http.shell import Shell, renderer
from trainshed.ports.deps import Deps

MAX_FINDINGS = 20


class Lifespan(Protocol):
    """What runs around the serving of an app."""

    def __call__(self, app: FastAPI, /) -> AbstractAsyncContextManager[None]:
        """Begin before the first request, end after the last."""


def create_app(
    deps: Deps,
    settings: HttpSettings,
    doors: Sequence[Door],
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Return the app of all ``doors``, and of the front page.

    Raises:
        ValueError: a route without guard, declared twice, or PUBLIC without being listed.
    """
    measures = Measures(deps, doors)
    every = [*doors, _front(doors, Front(doors, settings, deps.public_url), measures)]
    check_doors(every)
    hall = Hall(deps, settings)
    app = FastAPI(
        title="Trainshed",
        version=settings.version or "0",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.hall = hall
    app.state.doors = every
    for door in every:
        for route in door.routes:
            app.router.routes.append(_mount(hall, door, route))
    _handlers(app, every)
    app.add_middleware(Shell, hall=hall, doors=every, measures=measures)
    return app


def _mount(hall: Hall, door: Door, route: Route) -> RawRoute | GuardedRoute:
    path = door.prefix + route.path
    if not route.raw:
        return GuardedRoute(path, hall, door, route)
    made = RawRoute(path, guarded(hall, route), methods=[route.method], name=_name(route))
    made.include_in_schema = False
    return made


def _name(route: Route) -> str:
    return getattr(route.endpoint, "__name__", "raw")


def _handlers(app: FastAPI, doors: Sequence[Door]) -> None:
    table = [(compile_path(d.prefix + r.path)[0], r.method) for d in doors for r in d.routes]

    def answer(request: Request, error: TrainshedError) -> Response:
        show = renderer(doors, request.url.path)
        return show(error, request.state.request_id)

    async def expected(request: Request, error: Exception) -> Response:
        assert isinstance(error, TrainshedError)
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, _invalid(error.errors()))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, _framework(error.status_code, request.url.path, table))

    app.add_exception_handler(TrainshedError, expected)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def _invalid(found: Sequence[Any]) -> InvalidInput:
    """Say which fields are wrong and why; what was sent is not repeated."""
    findings = []
    for one in found[:MAX_FINDINGS]:
        loc = [str(p) for p in one["loc"] if p not in ("body", "query", "path", "header")]
        findings.append({"field": ".".join(loc)[:200], "message": str(one["msg"])[:300]})
    first = findings[0]
    words = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return InvalidInput(f"{words}.", field=first["field"], errors=findings)


def _framework(
    status: int, path: str, table: Sequence[tuple[re.Pattern[str], str]]
) -> TrainshedError:
    if status == 404:
        return NotFound("There is nothing at this path.")
    if status == 405:
        allow = sorted({method for pattern, method in table if pattern.match(path)})
        return MethodNotAllowed(f"This path takes {', '.join(allow)}.", allow=allow)
    if status == 413:
        return TooLarge("The body is too large.")
    if status == 415:
        return UnsupportedMediaType("Send another type of body.")
    if 400 <= status < 500:
        return InvalidInput("The request could not be understood.")
    return InternalError("Something went wrong on the server.")


def _front(doors: Sequence[Door], front: Front, measures: Measures) -> Door:
    listed = [d for d in doors if d.listed]
    documents: dict[str, Mapping[str, Any]] = {}

    async def openapi(request: Request) -> Response:
        """The OpenAPI document: of one door, or of all."""
        path = request.url.path
        if path not in documents:
            whole = combined(request.app, request.app.state.doors)
            mine = next((d for d in listed if d.docs == path), None)
            documents[path] = whole if mine is None else part(whole, mine)
        return JSONResponse(documents[path])

    def metrics() -> Response:
        """Figures of the engine and the server for Prometheus."""
        text, kind = measures.text()
        return Response(text, media_type=kind)

    docs = sorted({"/openapi.json", *(d.docs for d in listed if d.docs)})
    routes = [Route("GET", "/", front.show, PUBLIC, raw=True, hidden=True)]
    routes += [Route("GET", path, openapi, PUBLIC, raw=True, hidden=True) for path in docs]
    routes += [Route("GET", "/metrics", metrics, OPERATOR_READ)]
    return Door("front", "", routes, listed=False)
