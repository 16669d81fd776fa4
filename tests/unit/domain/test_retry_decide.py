"""Whether and when a Job runs again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import InvalidInput
from trainshed.domain.retry import (
    MAX_INFRASTRUCTURE,
    PERMANENT,
    Again,
    GiveUp,
    RetryPolicy,
    decide,
)
from trainshed.domain.states import AttemptState, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 100),
    backoff_s=st.floats(0, 3600),
    max_backoff_s=st.floats(3600, 86_400),
)
reasons = st.sampled_from([Reason.EXIT_CODE, Reason.SIGNAL, Reason.TIME_LIMIT, Reason.ENVIRONMENT])


@given(policies, reasons, st.integers(0, 200), st.integers(0, 9))
def test_failures_stop_at_max_retries(
    policy: RetryPolicy, reason: Reason, used: int, infrastructure: int
) -> None:
    step = decide(policy, AttemptState.FAILED, reason, used, infrastructure, NOW)
    if reason in PERMANENT or used >= policy.max_retries:
        assert step == GiveUp(reason)
    else:
        assert isinstance(step, Again)
        assert step.consumes
        wait = (step.not_before - NOW).total_seconds()
        assert 0 <= wait <= policy.max_backoff_s + 1e-6
        assert wait == pytest.approx(
            min(policy.backoff_s * 2.0**used, policy.max_backoff_s), abs=1e-5
        )


@given(policies, st.sampled_from([AttemptState.LOST, AttemptState.EVICTED]), st.integers(0, 20))
def test_infrastructure_is_free_but_bounded(
    policy: RetryPolicy, state: AttemptState, infrastructure: int
) -> None:
    step = decide(policy, state, Reason.LOST, 10**6, infrastructure, NOW)
    if infrastructure + 1 >= MAX_INFRASTRUCTURE:
        assert step == GiveUp(Reason.INFRASTRUCTURE)
    else:
        assert isinstance(step, Again)
        assert not step.consumes
        assert NOW <= step.not_before <= NOW + timedelta(minutes=1)
        assert state is AttemptState.LOST or step.not_before == NOW


@given(policies)
def test_backoff_never_shrinks(policy: RetryPolicy) -> None:
    waits = [
        step.not_before
        for used in range(policy.max_retries)
        for step in [decide(policy, AttemptState.FAILED, Reason.EXIT_CODE, used, 0, NOW)]
        if isinstance(step, Again)
    ]
    assert len(waits) == policy.max_retries
    assert waits == sorted(waits)


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(max_retries=-1),
        RetryPolicy(max_retries=101),
        RetryPolicy(backoff_s=-1),
        RetryPolicy(backoff_s=float("nan")),
        RetryPolicy(backoff_s=10, max_backoff_s=9),
        RetryPolicy(max_backoff_s=float("inf")),
    ],
)
def test_nonsense_is_refused(policy: RetryPolicy) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy.check()
    assert caught.value.extra["field"].startswith("retry.")
