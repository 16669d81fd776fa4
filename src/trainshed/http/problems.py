"""RFC 9457 ``application/problem+json``: the shape of every error of the native door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from trainshed.domain.errors import TrainshedError
from trainshed.http.errors import shown

TYPE = "https://trainshed.dev/errors/"

#: How a door shows an error; another dialect brings its own.
Renderer = Callable[[TrainshedError, str], Response]


def render(error: TrainshedError, request_id: str) -> Response:
    """Return the problem for an error; nothing of the inside is in it."""
    look = shown(error)
    body: dict[str, Any] = {
        "type": TYPE + error.code,
        "title": look.title,
        "status": look.status,
        "code": error.code,
        "detail": error.detail,
        "request_id": request_id,
    }
    body.update({k: v for k, v in error.extra.items() if k not in body})
    return Response(
        msgspec.json.encode(body, enc_hook=str),
        look.status,
        headers(error),
        "application/problem+json",
    )


def headers(error: TrainshedError) -> Mapping[str, str]:
    """Return the headers that belong to an error's status."""
    status = shown(error).status
    out: dict[str, str] = {}
    if status == 401:
        out["WWW-Authenticate"] = 'Bearer realm="trainshed"'
    if status == 413:
        out["Connection"] = "close"
    if "allow" in error.extra:
        out["Allow"] = ", ".join(error.extra["allow"])
    if "retry_after_s" in error.extra:
        out["Retry-After"] = str(max(1, -int(-float(error.extra["retry_after_s"]) // 1)))
    elif status == 503:
        out["Retry-After"] = "1"
    return out
