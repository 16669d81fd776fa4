"""What can go wrong, one class per problem ``code`` of the API.

TrainshedError
├── InvalidInput ⊃ ImpossibleRequest
├── NotAuthenticated · NotAllowed · NotFound
├── Conflict ⊃ IllegalTransition, StaleLease, IdempotencyConflict, OffsetMismatch, DigestConflict
├── PaymentRequired · TooLarge · QuotaExceeded · RateLimited
├── Unavailable ⊃ Overloaded, StorageFull
└── on this side of the wire: Unreachable, BadAnswer, WaitTimeout, UnsafePath, DigestMismatch,
    ConfigProblem
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

_STANDARD = frozenset({"type", "title", "status", "code", "detail", "request_id", "instance"})


class TrainshedError(Exception):
    """Base of every failure this package raises on purpose.

    Attributes:
        detail: A sentence for people that says what to do.
        status: The HTTP status, or 0 if no answer came.
        code: The stable word for machines.
        request_id: Names the request in the server's log, or None.
        extra: Further members of the problem, such as ``field`` or ``available``.
    """

    code: str = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str | None = None,
        request_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code or type(self).code
        self.request_id = request_id
        self.extra = dict(extra or {})


class InvalidInput(TrainshedError):
    """What was sent is wrong; ``extra['field']`` names the field where one is to blame."""

    code = "invalid_input"


class ImpossibleRequest(InvalidInput):
    """No configured pool could ever satisfy the resources; ``extra['largest']`` is what could."""

    code = "impossible_request"


class NotAuthenticated(TrainshedError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "not_authenticated"


class NotAllowed(TrainshedError):
    """The credential is valid but its role or scope does not reach this."""

    code = "not_allowed"


class NotFound(TrainshedError):
    """Absent, or another account's: the two are never told apart."""

    code = "not_found"


class Conflict(TrainshedError):
    """The object's present state forbids the request."""

    code = "conflict"


class IllegalTransition(Conflict):
    """A Job cannot do that from the state it is in."""

    code = "illegal_transition"


class StaleLease(Conflict):
    """A newer lease has replaced the one that was shown."""

    code = "stale_lease"


class IdempotencyConflict(Conflict):
    """The Idempotency-Key was used with another body, or its first use is still in flight."""

    code = "idempotency_conflict"


class OffsetMismatch(Conflict):
    """A stream chunk leaves a gap; ``extra['next']`` is the offset the server waits for."""

    code = "offset_mismatch"


class DigestConflict(Conflict):
    """The content that arrived does not have the digest that was announced."""

    code = "digest_conflict"


class PaymentRequired(TrainshedError):
    """Not enough credits or a spending limit; ``extra`` holds ``needed`` and ``available``."""

    code = "payment_required"


class TooLarge(TrainshedError):
    """A body or file is above its limit, named in ``extra['limit_bytes']``."""

    code = "too_large"


class QuotaExceeded(TrainshedError):
    """The account's storage quota is used up; the detail says what can be deleted."""

    code = "quota_exceeded"


class RateLimited(TrainshedError):
    """Too many requests; ``extra['retry_after_s']`` says when to come back."""

    code = "rate_limited"
    retryable = True


class Unavailable(TrainshedError):
    """The server cannot do it now; nothing was changed."""

    code = "unavailable"
    retryable = True


class Overloaded(Unavailable):
    """Too much work at once; ``extra['retry_after_s']`` says when to come back."""

    code = "overloaded"


class StorageFull(Unavailable):
    """The server's disk is full or nearly so: writes are refused, reads go on."""

    code = "storage_full"


class Unreachable(TrainshedError):
    """No answer came: no connection, a dropped one, or a time-out. A write may have happened."""

    code = "unreachable"
    retryable = True


class BadAnswer(TrainshedError):
    """The answer is no Trainshed answer: a proxy's page, or a server of another version."""

    code = "bad_answer"


class WaitTimeout(TrainshedError, TimeoutError):
    """``wait`` ran out of time; the Job goes on."""

    code = "wait_timeout"


class UnsafePath(TrainshedError):
    """A name from the server or a folder would lead outside of where it belongs."""

    code = "unsafe_path"


class DigestMismatch(TrainshedError):
    """Downloaded bytes are not what the server said they are; nothing was kept."""

    code = "digest_mismatch"


class ConfigProblem(TrainshedError):
    """The configuration file or environment cannot be used as it is."""

    code = "config"


_BY_STATUS: dict[int, type[TrainshedError]] = {
    400: InvalidInput,
    401: NotAuthenticated,
    402: PaymentRequired,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidInput,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: StorageFull,
}


def _tree(root: type[TrainshedError]) -> Iterator[type[TrainshedError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def by_code() -> dict[str, type[TrainshedError]]:
    """Return every class of the tree under its ``code``."""
    return {cls.code: cls for cls in _tree(TrainshedError)}


def from_response(status: int, body: bytes, request_id: str | None = None) -> TrainshedError:
    """Return the error for an answer of ``status`` 300 or more.

    A body that is no problem document (a proxy's page) still gives the class of its status; its
    first 200 characters are then in ``extra['body']``.
    """
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        start = body[:200].decode("utf-8", "replace").strip()
        cls = _BY_STATUS.get(status, BadAnswer)
        detail = f"The server answered {status} without an explanation."
        return cls(detail, status=status, request_id=request_id, extra={"body": start})
    code = str(problem.get("code") or "")
    cls = by_code().get(code) or _BY_STATUS.get(status, TrainshedError)
    detail = str(problem.get("detail") or problem.get("title") or f"The server answered {status}.")
    return cls(
        detail,
        status=status,
        code=code or None,
        request_id=str(problem.get("request_id") or request_id or "") or None,
        extra={k: v for k, v in problem.items() if k not in _STANDARD},
    )
