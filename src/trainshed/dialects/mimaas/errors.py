"""How this door shows errors: ``{message}``, with one of the few statuses that its clients know.

They read 400 as a mistake in what was sent, 401 and 403 as one of the caller, 404 as absent and
everything else as trouble with the network; whatever is somebody's mistake must be one of the four.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from trainshed.domain.errors import TrainshedError
from trainshed.http.problems import headers

#: code -> HTTP status. ``payment_required`` is the quota, which clients know by its words.
STATUS: Mapping[str, int] = {
    "invalid_input": 400,
    "impossible_request": 400,
    "host_not_allowed": 400,
    "not_authenticated": 401,
    "payment_required": 403,
    "not_allowed": 403,
    "cross_site": 403,
    "not_found": 404,
    "method_not_allowed": 400,
    "conflict": 400,
    "illegal_transition": 400,
    "stale_lease": 400,
    "idempotency_conflict": 400,
    "offset_mismatch": 400,
    "digest_conflict": 400,
    "too_large": 400,
    "unsupported_media_type": 400,
    "range_not_satisfiable": 400,
    "quota_exceeded": 400,
    "rate_limited": 429,
    "internal_error": 500,
    "unavailable": 503,
    "overloaded": 503,
    "storage_full": 503,
}

#: What OpenAPI says of every failure.
DESCRIPTION = {
    "description": "What went wrong",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["message", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


def render(error: TrainshedError, request_id: str) -> Response:
    """Return the error as this API's clients expect it; the request id is in a header."""
    body = {"message": error.detail, "code": error.code}
    if "errors" in error.extra:
        body["errors"] = error.extra["errors"]
    return Response(
        msgspec.json.encode(body, enc_hook=str), STATUS.get(error.code, 500), headers(error),
        "application/json",
    )  # fmt: skip
