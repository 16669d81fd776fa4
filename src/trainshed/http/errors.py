"""Errors as HTTP: one table from ``code`` to status and title, and what only HTTP can get wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainshed.domain.errors import IdempotencyConflict, TrainshedError


class MethodNotAllowed(TrainshedError):
    """The path exists, the method does not; ``extra['allow']`` lists those that do."""

    code = "method_not_allowed"


class UnsupportedMediaType(TrainshedError):
    """A body of another type than the route takes."""

    code = "unsupported_media_type"


class HostNotAllowed(TrainshedError):
    """The Host header names nothing that this server answers to (DNS rebinding)."""

    code = "host_not_allowed"


class CrossSite(TrainshedError):
    """A browser sent it on behalf of another site."""

    code = "cross_site"


class RangeNotSatisfiable(TrainshedError):
    """The asked range lies beyond the end."""

    code = "range_not_satisfiable"


class InternalError(TrainshedError):
    """A bug; the request id finds it in the server's log."""

    code = "internal_error"
    retryable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Shown:
    """How a code looks over HTTP."""

    status: int
    title: str


#: Every code with its status and title; the documentation is generated from this table.
TABLE = {
    "invalid_input": Shown(400, "The request is not valid"),
    "impossible_request": Shown(400, "No configured pool could ever run this"),
    "host_not_allowed": Shown(400, "This server does not answer to that name"),
    "not_authenticated": Shown(401, "A valid credential is needed"),
    "payment_required": Shown(402, "Not enough credits"),
    "not_allowed": Shown(403, "Not allowed"),
    "cross_site": Shown(403, "Refused because another site asked for it"),
    "not_found": Shown(404, "Not found"),
    "method_not_allowed": Shown(405, "Method not allowed"),
    "conflict": Shown(409, "Conflict with the present state"),
    "illegal_transition": Shown(409, "Not possible in this state"),
    "stale_lease": Shown(409, "A newer lease exists"),
    "idempotency_conflict": Shown(409, "The Idempotency-Key is in use"),
    "offset_mismatch": Shown(409, "The stream does not continue here"),
    "digest_conflict": Shown(409, "The content is not what was announced"),
    "too_large": Shown(413, "Too large"),
    "unsupported_media_type": Shown(415, "Unsupported media type"),
    "range_not_satisfiable": Shown(416, "Range not satisfiable"),
    "rate_limited": Shown(429, "Too many requests"),
    "internal_error": Shown(500, "Internal error"),
    "unavailable": Shown(503, "Not available now"),
    "overloaded": Shown(503, "Too much at once"),
    "storage_full": Shown(507, "The disk is full"),
    "quota_exceeded": Shown(507, "The storage quota is used up"),
}

REUSED_KEY = Shown(422, "The Idempotency-Key was used for another request")


def shown(error: TrainshedError) -> Shown:
    """Return status and title of an error."""
    if isinstance(error, IdempotencyConflict) and not error.extra.get("in_flight"):
        return REUSED_KEY
    return TABLE.get(error.code, TABLE["internal_error"])
