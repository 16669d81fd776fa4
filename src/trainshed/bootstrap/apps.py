"""Which doors there are: the app of a server, and the same app described without serving."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

from trainshed import __version__
from trainshed.bootstrap.settings import Settings
from trainshed.bootstrap.wiring import Address, build, interpreter, prepare
from trainshed.dialects.middleman.routes import door as middleman_door
from trainshed.dialects.mimaas.routes import door as mimaas_door
from trainshed.dialects.native.routes import door as native_door
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.dialects.runner.routes import door as runner_door
from trainshed.http.app import Lifespan, create_app
from trainshed.http.guards import Door
from trainshed.http.hall import ADDRESS, OPEN, STANDARD, HttpSettings
from trainshed.usecases.engine import Engine


def doors(engine: Engine, settings: Settings) -> list[Door]:
    """Return every door, in the order the front page lists them."""
    return [
        native_door(),
        middleman_door(),
        mimaas_door(),
        orchestrator_door(settings.orchestrator_backoff_s),
        runner_door(engine, interpreter()),
    ]


def create(engine: Engine, settings: Settings, lifespan: Lifespan | None) -> FastAPI:
    """Return the app of ``engine``."""
    limit = settings.rate_limit_per_minute
    http = HttpSettings(
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
        max_open=settings.max_open_requests,
        max_working=settings.max_working_requests,
        rate_limits={
            STANDARD: limit,
            ADDRESS: max(limit // 10, 60),
            OPEN: settings.orchestrator_rate_limit_per_minute,
        },
        open_local=_open(engine, settings),
        local_key=settings.api_key.get_secret_value() if settings.api_key else "",
        version=__version__,
    )
    return create_app(engine.deps, http, doors(engine, settings), lifespan)


def _open(engine: Engine, settings: Settings) -> bool:
    """Whether open mode may hold: not where settings tell of a proxy, which may name nobody."""
    name = urlsplit(engine.deps.public_url).hostname or "localhost"
    proxied = bool(settings.trusted_proxies) or not Address(name, 0).loopback
    return not settings.enable_api_auth and engine.deps.policy.loopback_only and not proxied


def runners(engine: Engine) -> Starlette:
    """Return the runners' door alone, for their own Unix socket.

    The endpoints authenticate and bound their bodies themselves; what the hall adds for people
    (rate limits, hosts, security headers) would cost each job three times for nothing.
    """
    door = runner_door(engine, interpreter())
    routes = [Route(door.prefix + r.path, r.endpoint, methods=[r.method]) for r in door.routes]
    return Starlette(routes=routes)


def describe(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Yield (path, method, guard, first line of documentation) of every route."""
    data = prepare(settings.data)
    engine = build(settings.model_copy(update={"data": data}), [], "")
    try:
        for door in create(engine, settings, None).state.doors:
            for route in door.routes:
                words = (route.endpoint.__doc__ or "").strip().splitlines()
                guard = route.guard.kind.value if route.guard else "none"
                if route.guard is not None and guard == "keyed":
                    guard = route.guard.right.name.lower()
                yield door.prefix + route.path, route.method, guard, words[0] if words else ""
    finally:
        engine.deps.store.close()
