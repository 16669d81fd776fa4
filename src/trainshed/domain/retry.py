"""Whether and when a Job runs again after an Attempt ended: by cause, with exponential back-off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.errors import InvalidInput
from trainshed.domain.states import AttemptState, Reason

#: LOST and EVICTED-by-the-platform do not use up ``max_retries``, but they stop here (D3).
MAX_INFRASTRUCTURE = 10

#: Failures that the same input would only repeat.
PERMANENT = frozenset({Reason.INPUT_MISSING, Reason.ENVIRONMENT, Reason.TIME_LIMIT})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``backoff_s * 2**n`` seconds after the n-th failure, at most ``max_backoff_s``."""

    max_retries: int = 0
    backoff_s: float = 10.0
    max_backoff_s: float = 3600.0

    def check(self) -> RetryPolicy:
        """Return self if the figures make sense.

        Raises:
            InvalidInput: naming the field.
        """
        if not 0 <= self.max_retries <= 100:
            raise InvalidInput("retry.max_retries must be 0 to 100.", field="retry.max_retries")
        if not 0 <= self.backoff_s <= self.max_backoff_s <= 86_400:
            raise InvalidInput(
                "retry.backoff_s must be at least 0 and at most retry.max_backoff_s (≤ 86400).",
                field="retry.backoff_s",
            )
        return self


@dataclass(frozen=True, slots=True)
class Again:
    """Run again, not before ``not_before``; ``consumes`` tells if it used one of max_retries."""

    not_before: datetime
    consumes: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not run again; the Job fails with ``reason``."""

    reason: Reason


def decide(
    policy: RetryPolicy,
    state: AttemptState,
    reason: Reason,
    retries_used: int,
    infrastructure_used: int,
    now: datetime,
) -> Again | GiveUp:
    """Decide what follows an Attempt that ended FAILED, LOST or EVICTED by the platform.

    ``retries_used`` counts earlier retries by failure, ``infrastructure_used`` earlier ends by
    LOST or EVICTED (pause excluded).
    """
    if state in (AttemptState.LOST, AttemptState.EVICTED):
        if infrastructure_used + 1 >= MAX_INFRASTRUCTURE:
            return GiveUp(Reason.INFRASTRUCTURE)
        lost = state is AttemptState.LOST
        return Again(
            now + timedelta(seconds=min(2**infrastructure_used, 60) * lost), consumes=False
        )
    if reason in PERMANENT or retries_used >= policy.max_retries:
        return GiveUp(reason)
    wait_s = min(policy.backoff_s * 2.0 ** min(retries_used, 1000), policy.max_backoff_s)
    return Again(now + timedelta(seconds=wait_s), consumes=True)
