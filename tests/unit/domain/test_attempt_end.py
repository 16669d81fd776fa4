"""How an end is read, what it bills, and what it means for the Job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.attempt import (
    Attempt,
    Ending,
    Start,
    billable,
    classify,
    ended,
    job_after,
    started,
)
from trainshed.domain.errors import IllegalTransition, StaleLease
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.lease import LeaseTerms, check_token, deadline, expired
from trainshed.domain.retry import MAX_INFRASTRUCTURE, RetryPolicy
from trainshed.domain.states import LIVE, AttemptState, Intent, JobState, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASED = Attempt("t", "j", "a", 1, 1, "o", "process", "local-cpu", 1000, 2**30, NOW)
RUNNING = started(LEASED, Start("none"), NOW)
CAUSES = [
    "exited", "signalled", "timeout", "memory", "disk", "start_failed", "input_missing",
    "environment", "collect_failed", "lost",
]  # fmt: skip
endings = st.builds(
    Ending,
    cause=st.sampled_from(CAUSES),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    stopped_by=st.sampled_from([None, "pause", "preempt", "drain", "cancel"]),
    runtime_ms=st.integers(-1000, 10**9),
)


def job(intent: Intent = Intent.RUN, retries: int = 0) -> Job:
    spec = JobSpec(command=("x",), retry=RetryPolicy(max_retries=retries))
    return Job("j", "a", None, "native", "n", spec, "local-cpu", NOW, intent=intent)


@given(st.sampled_from(Intent), endings)
def test_every_end_is_classified_and_a_cancel_never_succeeds(intent: Intent, end: Ending) -> None:
    state, reason = classify(intent, end)
    assert state not in LIVE
    assert (state is AttemptState.SUCCEEDED) == (reason is Reason.COMPLETED)
    assert (state is AttemptState.LOST) == (end.cause == "lost")
    if intent is Intent.CANCEL:
        assert state in (AttemptState.CANCELLED, AttemptState.LOST)
    if state is AttemptState.SUCCEEDED:
        assert (end.cause, end.exit_code) == ("exited", 0)
    if state is AttemptState.EVICTED:
        assert end.stopped_by in ("pause", "preempt", "drain")


@pytest.mark.parametrize(
    ("intent", "ending", "state", "reason"),
    [
        (Intent.RUN, Ending("exited", 0), AttemptState.SUCCEEDED, Reason.COMPLETED),
        (Intent.RUN, Ending("exited", 3), AttemptState.FAILED, Reason.EXIT_CODE),
        (Intent.RUN, Ending("signalled", None, 11), AttemptState.FAILED, Reason.SIGNAL),
        (Intent.RUN, Ending("timeout", None, 9), AttemptState.FAILED, Reason.TIME_LIMIT),
        (Intent.RUN, Ending("memory", None, 9), AttemptState.FAILED, Reason.OUT_OF_MEMORY),
        (Intent.PAUSE, Ending("exited", 0), AttemptState.SUCCEEDED, Reason.COMPLETED),
        (Intent.PAUSE, Ending("exited", 0, None, "pause"), AttemptState.EVICTED, Reason.PAUSED),
        (Intent.RUN, Ending("exited", 143, 15, "preempt"), AttemptState.EVICTED, Reason.PREEMPTED),
        (Intent.CANCEL, Ending("exited", 0), AttemptState.CANCELLED, Reason.CANCELLED),
    ],
)
def test_the_table(intent: Intent, ending: Ending, state: AttemptState, reason: Reason) -> None:
    assert classify(intent, ending) == (state, reason)


@given(st.sampled_from(Intent), endings, st.integers(0, 10**9), st.integers(0, 10**6))
def test_the_bill_is_capped_by_what_the_server_saw(
    intent: Intent, end: Ending, checkpoint_ms: int, seen_ms: int
) -> None:
    running = replace(RUNNING, checkpoint_ms=checkpoint_ms)
    over = ended(running, intent, end, NOW + timedelta(milliseconds=seen_ms))
    assert 0 <= over.billable_ms <= seen_ms
    assert over.runtime_ms == max(end.runtime_ms, 0)
    if over.state is AttemptState.LOST or over.reason in (Reason.PREEMPTED, Reason.DRAINED):
        assert over.billable_ms == min(checkpoint_ms, seen_ms)
    else:
        assert over.billable_ms == min(max(end.runtime_ms, 0), seen_ms)
    assert ended(LEASED, intent, end, NOW + timedelta(1)).billable_ms == 0


def test_a_lost_attempt_bills_its_checkpoint_though_nobody_reported_a_runtime() -> None:
    running, end = replace(RUNNING, checkpoint_ms=40_000), NOW + timedelta(minutes=2)
    assert ended(running, Intent.RUN, Ending("lost"), end).billable_ms == 40_000
    assert billable(running, AttemptState.LOST, Reason.LOST, 0, NOW - timedelta(1)) == 0


def test_an_end_is_final() -> None:
    over = ended(RUNNING, Intent.RUN, Ending("exited", 0), NOW)
    for again in (Ending("exited", 0), Ending("lost")):
        with pytest.raises(IllegalTransition):
            ended(over, Intent.RUN, again, NOW)
    with pytest.raises(IllegalTransition):
        started(over, Start("none"), NOW)


def after(subject: Job, ending: Ending) -> Job:
    return job_after(subject, ended(RUNNING, subject.intent, ending, NOW), NOW)


def test_what_an_end_means_for_the_job() -> None:
    assert after(job(), Ending("exited", 0)).outcome is JobState.SUCCEEDED
    assert after(job(), Ending("exited", 1)).outcome is JobState.FAILED
    again = after(job(retries=1), Ending("exited", 1))
    assert (again.state, again.retries_used, again.infrastructure_used) == (JobState.QUEUED, 1, 0)
    assert again.not_before == NOW + timedelta(seconds=10)
    assert after(job(Intent.CANCEL), Ending("lost")).outcome is JobState.CANCELLED
    paused = after(job(Intent.PAUSE), Ending("exited", 1, None, "pause"))
    assert (paused.state, paused.retries_used, paused.infrastructure_used) == (
        JobState.PAUSED,
        0,
        0,
    )
    moved = after(job(), Ending("exited", 1, None, "drain"))
    assert (moved.state, moved.retries_used, moved.infrastructure_used) == (JobState.QUEUED, 0, 1)
    lost_while_pausing = after(job(Intent.PAUSE), Ending("lost"))
    assert lost_while_pausing.state is JobState.PAUSED


def test_infrastructure_gives_up_after_ten() -> None:
    subject = job(retries=5)
    for _ in range(MAX_INFRASTRUCTURE - 1):
        subject = after(subject, Ending("lost"))
        assert subject.state is JobState.QUEUED
        assert subject.retries_used == 0
    subject = after(subject, Ending("lost"))
    assert (subject.outcome, subject.reason) == (JobState.FAILED, Reason.INFRASTRUCTURE)


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1e6))
def test_leases(current: int, presented: int, renewed: float) -> None:
    if current == presented:
        check_token(current, presented)
    else:
        with pytest.raises(StaleLease):
            check_token(current, presented)
    terms = LeaseTerms()
    end = deadline(renewed, terms)
    assert not expired(renewed, end, terms)
    assert expired(renewed, end + 0.001, terms)


def test_a_start_lies_as_far_back_as_it_says_but_not_before_the_lease() -> None:
    later = NOW + timedelta(seconds=5)
    told = started(LEASED, Start("none", age_ms=2000), later)
    assert told.started_at == later - timedelta(seconds=2)
    assert started(LEASED, Start("none", age_ms=10**9), later).started_at == LEASED.leased_at
