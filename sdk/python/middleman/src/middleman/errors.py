"""What can go wrong.

MiddlemanError
├── AuthenticationError                no key, or one that is unknown, expired or revoked (401)
├── ApiError (status_code, detail)     the server refused
│   ├── InvalidRequestError            400, 422
│   ├── InsufficientCreditsError       402
│   ├── PermissionDeniedError          403: the key's scopes do not reach this
│   ├── NotFoundError                  404: absent, or another account's
│   ├── ConflictError                  409: the job's state forbids it
│   └── RateLimitError                 429
├── UnreachableError                   no answer came; a write may have happened
├── BadAnswerError                     an answer that is none of Middleman's
└── TransferError                      a download that is not what was announced
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class MiddlemanError(Exception):
    """Base of every failure that this package raises on purpose."""


class AuthenticationError(MiddlemanError):
    """No API key was given, or the server does not know it (any more): ``detail`` says which."""

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail or message


class ApiError(MiddlemanError):
    """The server refused.

    Attributes:
        status_code: The HTTP status.
        detail: A sentence for people that says what to do.
        code: The stable word for machines, or None.
        details: What else the server told, such as ``needed`` and ``available`` credits.
        retry_after_s: How long the server asks to wait, or None.
        request_id: Names the request in the server's log, or None.
    """

    def __init__(
        self,
        status_code: int,
        detail: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"API Error ({status_code}): {detail}")
        self.status_code = status_code
        self.detail = detail
        self.code = code
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class InvalidRequestError(ApiError):
    """A value that was sent is wrong."""


class InsufficientCreditsError(ApiError):
    """The account has not the credits that the job would reserve."""


class PermissionDeniedError(ApiError):
    """The key is good, but its scopes do not reach this."""


class NotFoundError(ApiError):
    """Absent, or another account's: the two are never told apart."""


class ConflictError(ApiError):
    """The present state forbids it, or a short id could be several."""


class RateLimitError(ApiError):
    """Too many requests; ``retry_after_s`` says when to come back."""


class UnreachableError(MiddlemanError):
    """No answer came: no connection, a dropped one, or a time-out. A write may have happened."""


class BadAnswerError(MiddlemanError):
    """The answer is none of Middleman's: a proxy's page, or a server of another kind."""


class TransferError(MiddlemanError):
    """A download that is not as long as, or not what, was announced. Nothing was kept."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidRequestError,
    429: RateLimitError,
}


def from_answer(
    status: int, body: bytes, *, retry_after_s: float | None = None, request_id: str | None = None
) -> MiddlemanError:
    """Return the error that an answer of 300 or more is; its text is ``detail``, else the body."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    said = found if isinstance(found, dict) else {}
    inner = said.get("error")
    error = inner if isinstance(inner, dict) else {}
    text = said.get("detail") or error.get("message") or body[:300].decode("utf-8", "replace")
    detail = text if isinstance(text, str) else json.dumps(text)
    detail = detail.strip() or f"The server answered {status} without an explanation."
    if status == 401:
        return AuthenticationError("Invalid API key", detail)
    details = error.get("details")
    return _BY_STATUS.get(status, ApiError)(
        status,
        detail,
        code=error.get("code") if isinstance(error.get("code"), str) else None,
        details=details if isinstance(details, dict) else None,
        retry_after_s=retry_after_s,
        request_id=request_id,
    )


@contextmanager
def as_ours() -> Iterator[None]:
    """Turn the failures of the shared code into ours."""
    from trainshed_client.errors import BadAnswer, TrainshedError

    try:
        yield
    except BadAnswer as error:
        raise BadAnswerError(error.detail) from error
    except TrainshedError as error:
        raise MiddlemanError(error.detail) from error
