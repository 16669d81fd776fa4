"""Where a request really comes from: X-Forwarded-* counts from trusted addresses only."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"
MAX_HOPS = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller's address, and the scheme and host by which it knows this server."""

    address: str
    scheme: str
    host: str

    @property
    def base(self) -> str:
        """What absolute URLs in answers begin with."""
        return f"{self.scheme}://{self.host}"


def networks(texts: Sequence[str]) -> list[Network]:
    """Return the trusted networks; raises ValueError for what is none."""
    return [ipaddress.ip_network(t, strict=False) for t in texts]


def origin_of(scope: Scope, headers: Headers, trusted: Sequence[Network]) -> Origin:
    """Return where the request comes from."""
    client = scope.get("client")
    peer = client[0] if client else UNIX
    scheme, host = scope.get("scheme", "http"), headers.get("host", "")
    if not trusted or not _within(peer, trusted):
        return Origin(peer, scheme, host)
    asked = _last(headers, "x-forwarded-proto")
    return Origin(
        _caller(peer, headers, trusted),
        asked if asked in ("http", "https") else scheme,
        _last(headers, "x-forwarded-host") or host,
    )


def _caller(peer: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """Return the nearest address that is no trusted proxy, from the right."""
    hops = ",".join(headers.getlist("x-forwarded-for")).split(",")
    caller = peer
    for hop in reversed(hops[-MAX_HOPS:]):
        text = hop.strip()
        if not _address(text):
            return caller
        caller = text
        if not _within(text, trusted):
            return caller
    return caller


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).split(",")[-1].strip()


def _within(text: str, trusted: Sequence[Network]) -> bool:
    found = _address(text)
    return found is not None and any(found in n for n in trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
