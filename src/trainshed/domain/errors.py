"""The one tree of errors. Each class has a stable ``code``; each dialect renders it from a table.

TrainshedError
├── InvalidInput            what was sent is wrong; says which field and what to do
│   └── ImpossibleRequest   no configured pool could ever satisfy it
├── NotAuthenticated        no valid credential
├── NotAllowed              a valid credential without the right
├── NotFound                absent, or another account's (never told apart)
├── Conflict                the object's state forbids it
│   ├── IllegalTransition   the Job or Attempt cannot do that from where it is
│   ├── StaleLease          a newer lease exists; drop the result
│   ├── IdempotencyConflict the key was used with another body, or is in flight
│   ├── OffsetMismatch      a stream chunk does not continue where the stream ends
│   └── DigestConflict      same md5, other sha256
├── PaymentRequired         not enough credits, or over a key's spending limit
├── TooLarge                a body or file above its limit
├── QuotaExceeded           the account's storage quota
├── RateLimited             try again after ``retry_after_s``
└── Unavailable             the server cannot now; nothing was changed
    ├── Overloaded          too much at once
    └── StorageFull         the disk is (nearly) full
"""

from __future__ import annotations

from typing import Any, ClassVar


class TrainshedError(Exception):
    """Base of every expected failure.

    ``detail`` is a sentence for people that says what to do; ``extra`` is for machines and must
    hold JSON values only. Neither may hold a secret, a server path or a stack trace.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class InvalidInput(TrainshedError):
    """What was sent is wrong. Pass ``field`` where one field is to blame."""

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
    """A Job or Attempt cannot do that from the state it is in."""

    code = "illegal_transition"


class StaleLease(Conflict):
    """The write carried a fencing token that a newer lease has replaced, or the Attempt has
    ended.
    """

    code = "stale_lease"


class IdempotencyConflict(Conflict):
    """An Idempotency-Key was used before with another body, or its first use is still in flight."""

    code = "idempotency_conflict"


class OffsetMismatch(Conflict):
    """A stream chunk leaves a gap; ``extra['next']`` is the offset the server waits for."""

    code = "offset_mismatch"


class DigestConflict(Conflict):
    """Content does not have the digest it was announced with, or an md5 is taken by other bytes."""

    code = "digest_conflict"


class PaymentRequired(TrainshedError):
    """Not enough credits or a spending limit; ``extra``: ``{needed,available}_ucredits``."""

    code = "payment_required"


class TooLarge(TrainshedError):
    """A body, file or archive is above its limit, named in ``extra['limit_bytes']``."""

    code = "too_large"


class QuotaExceeded(TrainshedError):
    """The account's storage quota is used up; the detail says what can be deleted."""

    code = "quota_exceeded"


class RateLimited(TrainshedError):
    """Too many requests by this principal; ``extra['retry_after_s']`` says when to come back."""

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
    """The disk is full or nearly so: writes are refused, reads go on, recovery is by itself."""

    code = "storage_full"
