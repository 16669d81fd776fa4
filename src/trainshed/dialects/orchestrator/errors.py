"""How this door shows errors: ``{detail, error_type}``, the type a name like an exception's."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from trainshed.domain.errors import TrainshedError
from trainshed.http.errors import TABLE, shown
from trainshed.http.problems import headers

#: code -> error_type.
TYPES = {
    "invalid_input": "ValidationError",
    "impossible_request": "ValidationError",
    "host_not_allowed": "HostNotAllowedError",
    "not_authenticated": "AuthenticationError",
    "payment_required": "InsufficientCreditsError",
    "not_allowed": "PermissionError",
    "cross_site": "PermissionError",
    "not_found": "NotFoundError",
    "method_not_allowed": "MethodNotAllowedError",
    "conflict": "ConflictError",
    "illegal_transition": "ConflictError",
    "stale_lease": "ConflictError",
    "idempotency_conflict": "ConflictError",
    "offset_mismatch": "ConflictError",
    "digest_conflict": "ConflictError",
    "too_large": "PayloadTooLargeError",
    "unsupported_media_type": "UnsupportedMediaTypeError",
    "range_not_satisfiable": "RangeError",
    "rate_limited": "RateLimitError",
    "internal_error": "InternalServerError",
    "unavailable": "ServiceUnavailableError",
    "overloaded": "ServiceUnavailableError",
    "storage_full": "StorageFullError",
    "quota_exceeded": "QuotaExceededError",
}

#: code -> HTTP status, for the tests of this table.
STATUS = {code: look.status for code, look in TABLE.items()}

#: What OpenAPI says of every failure.
DESCRIPTION = {
    "description": "What went wrong",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["detail", "error_type"],
                "properties": {
                    "detail": {"type": "string"},
                    "error_type": {"type": "string"},
                },
            }
        }
    },
}


def render(error: TrainshedError, request_id: str) -> Response:
    """Return the error as this API's clients expect it; the request id is in a header."""
    kind = TYPES.get(error.code, "InternalServerError")
    body = msgspec.json.encode({"detail": error.detail, "error_type": kind})
    return Response(body, shown(error).status, headers(error), "application/json")
