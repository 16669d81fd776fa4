"""What every route of every door finds here: the wings, the limits, and the call it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated

from fastapi import Depends, Request

from trainshed.domain.errors import NotAuthenticated
from trainshed.domain.people import Principal
from trainshed.http.admission import Admission
from trainshed.http.auth import Authenticator
from trainshed.http.idempotency import Idempotency
from trainshed.http.local import Local
from trainshed.http.proxy import Network, Origin, networks
from trainshed.http.ratelimit import Limiter, LoginThrottle
from trainshed.http.sse import Streams
from trainshed.ports.deps import Deps

STANDARD = "standard"
ADDRESS = "address"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The operator's decisions about HTTP. Rate limits are requests a minute by tier; 0 is none.

    Tier ``standard`` is an account's unless set; ``address`` holds what comes without credential;
    ``open`` is that of routes which open mode opens, 0 unless set. ``open_local`` allows open
    mode; ``local_key`` is a key of the account ``local`` on those routes, empty for none.
    """

    allowed_hosts: Sequence[str] = ()
    trusted_proxies: Sequence[str] = ()
    max_body_bytes: int = 8 * 1024**2
    rate_limits: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({STANDARD: 6000, ADDRESS: 600})
    )
    max_streams: int = 64
    open_local: bool = False
    local_key: str = field(default="", repr=False)
    max_open: int = 2048
    max_working: int = 128
    version: str = ""


class Hall:
    """Built once per app, by ``create_app``."""

    def __init__(self, deps: Deps, settings: HttpSettings) -> None:
        """Wire the shared parts."""
        self.deps, self.settings = deps, settings
        self.trusted: list[Network] = networks(settings.trusted_proxies)
        self.auth = Authenticator(deps)
        self.local = Local(deps, settings.open_local, settings.local_key)
        self.limiter = Limiter(deps.clock, settings.rate_limits)
        self.admission = Admission(settings.max_open, settings.max_working)
        self.throttle = LoginThrottle(deps.clock)
        self.idempotency = Idempotency(deps)
        self.streams = Streams(deps.bus, deps.clock, self.auth, settings.max_streams)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that has been let in. ``caller`` and ``presented`` are None on open routes.

    ``once`` names the Idempotency-Key, for use cases that remember it in their own transaction.
    ``headers`` go out with the answer.
    """

    hall: Hall
    request_id: str
    origin: Origin
    caller: Principal | None
    presented: str | None = field(repr=False)
    once: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def deps(self) -> Deps:
        """The wings."""
        return self.hall.deps

    def signed_url(self, token: str) -> str:
        """Return the absolute URL of a signed upload or download, by the name the caller used."""
        return f"{self.origin.base}/v1/signed/{token}"

    @property
    def principal(self) -> Principal:
        """Who is calling. Raises NotAuthenticated on an open route."""
        if self.caller is None:
            raise NotAuthenticated("This needs a credential.")
        return self.caller


async def call_of(request: Request) -> Call:
    """Return the call that ``entry`` admitted."""
    call: Call = request.state.call
    once = getattr(request.state, "once", None)
    return call if once is None else replace(call, once=once)


#: Declares the parameter of a path function that receives its Call.
Called = Annotated[Call, Depends(call_of)]
