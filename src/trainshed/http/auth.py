"""Who is calling: one credential a request, looked up, and remembered for less than a second."""

from __future__ import annotations

import hashlib

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from trainshed.domain.errors import NotAuthenticated
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.usecases import keys

#: A revoked key is refused after at most this long; job tokens are never remembered.
REMEMBER_S = 0.9
MAX_REMEMBERED = 4096
TOUCH_S = 60.0


def credential(headers: Headers) -> str:
    """Return the one credential of a request.

    Raises:
        NotAuthenticated: none, several, or another scheme than Bearer.
    """
    found = {v.strip() for v in headers.getlist("x-api-key")}
    for value in headers.getlist("authorization"):
        scheme, space, token = value.strip().partition(" ")
        if not space:  # clients of MIMaaS send nothing but the token
            token = scheme
        elif scheme.lower() != "bearer":
            raise NotAuthenticated("Send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")
        found.add(token.strip())
    if len(found) != 1 or "" in found:
        raise NotAuthenticated(
            "Send one credential: 'Authorization: Bearer <key>' or 'X-API-Key: <key>'."
        )
    return found.pop()


class Authenticator:
    """Turns credentials into Principals. Used on one event loop."""

    def __init__(self, deps: Deps) -> None:
        """Begin with nobody known."""
        self._deps = deps
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._touched: dict[str, float] = {}

    async def who(self, presented: str) -> Principal:
        """Return who ``presented`` speaks for. Raises NotAuthenticated."""
        now = self._deps.clock.monotonic()
        name = hashlib.sha256(presented.encode("utf-8", "replace")).digest()
        known = self._known.get(name)
        if known is not None and now < known[1]:
            return known[0]
        self._known.pop(name, None)
        found = await run_in_threadpool(keys.authenticate, self._deps, presented)
        if found.job_id is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[name] = (found, now + REMEMBER_S)
        self._touch(found, now)
        return found

    def _touch(self, found: Principal, now: float) -> None:
        if found.key_id is None or now - self._touched.get(found.key_id, -TOUCH_S) < TOUCH_S:
            return
        if len(self._touched) >= MAX_REMEMBERED:
            self._touched.clear()
        self._touched[found.key_id] = now
        keys.touch(self._deps, found.key_id, found.account_id)
