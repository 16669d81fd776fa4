"""Open mode (D15): on this machine's own loopback a few routes need no key.

Whoever comes so is the built-in account ``local``: metered, never an admin.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from trainshed.domain.errors import NotAuthenticated
from trainshed.domain.people import Principal
from trainshed.http.auth import REMEMBER_S, Authenticator, credential
from trainshed.http.errors import CrossSite, UnsupportedMediaType
from trainshed.http.proxy import Origin
from trainshed.ports.deps import Deps
from trainshed.usecases import local

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: A proxy in front makes every caller look local; what came through one is not.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Local:
    """Decides who a request to an OPEN_LOCAL route is. Used on one event loop."""

    def __init__(self, deps: Deps, is_open: bool, key: str) -> None:
        """``is_open``: settings and listeners allow open mode. ``key``: '' for none."""
        self._deps, self._open = deps, is_open
        self._key = _digest(key) if key else b""
        self._known: tuple[local.Standing, float] | None = None

    async def who(self, request: Request, auth: Authenticator) -> tuple[Principal, str | None]:
        """Return the caller and the credential it showed, if any.

        Raises:
            NotAuthenticated: no valid key, and open mode does not hold for this request.
            CrossSite, UnsupportedMediaType: another site's page may have sent it.
        """
        headers = request.headers
        if "authorization" in headers or "x-api-key" in headers:
            presented = credential(headers)
            if self._key and hmac.compare_digest(_digest(presented), self._key):
                return (await self._standing()).principal, presented
            return await auth.who(presented), presented
        if not self._open:
            raise NotAuthenticated("This needs an API key: 'X-API-Key: <key>'.")
        _check_here(request)
        standing = await self._standing()
        if standing.shared:
            raise NotAuthenticated(
                "Open mode is off: several people have accounts here, and jobs share the machine's"
                " network. Send an API key."
            )
        return standing.principal, None

    async def _standing(self) -> local.Standing:
        now = self._deps.clock.monotonic()
        if self._known is None or now >= self._known[1]:
            found = await run_in_threadpool(local.standing, self._deps)
            self._known = found, now + REMEMBER_S
        return self._known[0]


def _check_here(request: Request) -> None:
    """Refuse what comes through a proxy, under another name, or from another site's page."""
    headers, origin = request.headers, request.state.origin
    if not _is_local(origin) or any(name in headers for name in FORWARDED):
        raise NotAuthenticated("Open mode is for this machine only. Send an API key.")
    asked = headers.get("origin")
    if asked is not None and asked.lower() != origin.base.lower():
        raise CrossSite("A browser sent this for another site; that is never allowed.")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise CrossSite("A browser sent this for another site; that is never allowed.")
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method not in ("GET", "HEAD") and has_body and kind != "application/json":
        raise UnsupportedMediaType("Send JSON with the header Content-Type: application/json.")


def _is_local(origin: Origin) -> bool:
    try:
        name = urlsplit(f"//{origin.host}").hostname
    except ValueError:
        return False
    return name in LOOPBACK and origin.address in ("127.0.0.1", "::1")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
