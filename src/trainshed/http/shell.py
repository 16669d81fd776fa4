"""The outer wall, for every request and every answer: request id, host, origin, headers, last
resort.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainshed.domain.errors import TrainshedError
from trainshed.http.dispatch import Dispatch
from trainshed.http.errors import CrossSite, HostNotAllowed, InternalError
from trainshed.http.guards import RUNNER_PREFIX, Door
from trainshed.http.hall import Hall
from trainshed.http.measures import Measures
from trainshed.http.problems import Renderer, render
from trainshed.http.proxy import Origin, origin_of

log = logging.getLogger("trainshed.http")

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}


class Shell:
    """Pure ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, hall: Hall, doors: Sequence[Door], measures: Measures) -> None:
        """Stand around ``app``."""
        self.app, self.hall, self.measures = app, hall, measures
        self._doors = sorted(doors, key=lambda d: -len(d.prefix))
        self._dispatch = Dispatch(doors)
        public = urlsplit(hall.deps.public_url).hostname
        names = [*LOOPBACK, *hall.settings.allowed_hosts, *([public] if public else [])]
        self._hosts = frozenset(n.lower() for n in names)
        self._vital = {(r.method, d.prefix + r.path) for d in doors for r in d.routes if r.vital}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        origin = origin_of(scope, headers, self.hall.trusted)
        state["origin"] = origin
        state["request_id"] = self.hall.deps.ids.new("request")
        state["headers"] = {}
        answer = _Answer(send, state, origin, self._counter(scope))
        try:
            self._dispatch.rewrite(scope, headers)
            self._check(scope, headers, origin)
            async with self._place(scope):
                await self.app(scope, receive, answer)
        except TrainshedError as error:
            await self._refuse(error, scope, receive, answer)
        except Exception:
            if answer.started:
                raise
            log.exception("request %s failed", state["request_id"])
            words = "Something went wrong on the server; its log has it under the request id."
            await self._refuse(InternalError(words), scope, receive, answer)

    def _check(self, scope: Scope, headers: Headers, origin: Origin) -> None:
        if scope.get("client") is None and (scope.get("server") or (None, 0))[1] is None:
            return  # a Unix socket: no browser gets here
        if len(headers.getlist("host")) != 1 or not self._known(origin.host):
            raise HostNotAllowed(
                "This server does not answer to that Host; add it to allowed_hosts."
            )
        if scope["method"] not in SAFE:
            _same_site(headers, origin)

    def _counter(self, scope: Scope) -> Callable[[int], None]:
        """Return what notes the answer to this request once its status is known."""
        began = time.perf_counter()

        def count(status: int) -> None:
            seconds = time.perf_counter() - began
            door = door_of(self._doors, scope["path"])  # as rewritten: an alias is the door's
            route = getattr(scope.get("route"), "path", "none")
            self.measures.count(door, route, scope["method"], status, seconds)

        return count

    def _place(self, scope: Scope) -> contextlib.AbstractAsyncContextManager[None]:
        vital = (scope["method"], scope["path"]) in self._vital
        if vital:
            return contextlib.nullcontext()
        return self.hall.admission.open(runner=scope["path"].startswith(RUNNER_PREFIX))

    def _known(self, host: str) -> bool:
        return hostname(host) in self._hosts

    async def _refuse(
        self, error: TrainshedError, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = self.renderer(scope["path"])(error, scope["state"]["request_id"])
        await response(scope, receive, send)

    def renderer(self, path: str) -> Renderer:
        """Return how the door that a path belongs to shows errors."""
        return renderer(self._doors, path)


def renderer(doors: Sequence[Door], path: str) -> Renderer:
    """Return how the door that a path belongs to shows errors (longest prefix first)."""
    door = door_of(doors, path)
    return render if door is None else door.render


def door_of(doors: Sequence[Door], path: str) -> Door | None:
    """Return the door that a path belongs to (longest prefix first)."""
    mine = [d for d in doors if path == d.prefix or path.startswith(d.prefix.rstrip("/") + "/")]
    return max(mine, key=lambda door: len(door.prefix)) if mine else None


def hostname(host: str) -> str:
    """Return the name of a Host header, lower-case, without port; '' for what is none."""
    try:
        split = urlsplit(f"//{host}")
        name, _ = split.hostname, split.port
    except ValueError:
        return ""
    if not name or split.username is not None or split.path or split.query or split.fragment:
        return ""
    name = name.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _same_site(headers: Headers, origin: Origin) -> None:
    """Refuse what a browser sends for another site, whatever the method (ShadowRay's sequel)."""
    asked = headers.get("origin")
    other = asked is not None and asked.lower() != origin.base.lower()
    if other or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise CrossSite("A browser sent this for another site; that is never allowed.")


class _Answer:
    """Adds the headers that every answer has, on its way out."""

    def __init__(
        self, send: Send, state: dict[str, Any], origin: Origin, count: Callable[[int], None]
    ) -> None:
        self._send, self._state, self._origin, self._count = send, state, origin, count
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._count(message["status"])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._state["request_id"]
            for name, value in self._state["headers"].items():
                headers[name] = value
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
            if self._origin.scheme == "https":
                headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        await self._send(message)
