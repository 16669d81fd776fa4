"""How the Middleman door shows errors: one body that all its clients read."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from trainshed.domain.errors import TrainshedError
from trainshed.http.errors import shown
from trainshed.http.problems import headers

#: The core's code → this door's, where it is not the same word.
CODES = {
    "not_authenticated": "unauthorized",
    "not_allowed": "forbidden",
    "payment_required": "insufficient_credits",
    "invalid_input": "invalid_request",
    "impossible_request": "invalid_request",
    "illegal_transition": "invalid_state",
}

#: The core's field → this door's.
FIELDS = {
    "resources.gpu_type": "gpu_type",
    "resources.gpus": "gpu_count",
    "max_runtime_s": "max_runtime_hours",
    "inputs.path": "input_data_path",
    "env": "environment_variables",
    "environment.kind": "requirements_file",
    "environment.value": "requirements_file",
    "environment.framework": "framework",
}

_SCHEMA = {
    "type": "object",
    "required": ["error", "detail"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        },
        "detail": {"type": "string"},
    },
}

#: Every error in OpenAPI.
DESCRIPTION = {
    "description": "An error",
    "content": {"application/json": {"schema": _SCHEMA}},
}


def render(error: TrainshedError, request_id: str) -> Response:
    """Return ``{"error": {code, message, details}, "detail"}``; nothing of the inside is in it."""
    details: dict[str, Any] = {**error.extra, "request_id": request_id}
    if "field" in details:
        details["field"] = FIELDS.get(details["field"], details["field"])
    code = CODES.get(error.code, error.code)
    body = {
        "error": {"code": code, "message": error.detail, "details": details},
        "detail": error.detail,
    }
    return Response(
        msgspec.json.encode(body, enc_hook=str), shown(error).status, headers(error),
        "application/json",
    )  # fmt: skip
