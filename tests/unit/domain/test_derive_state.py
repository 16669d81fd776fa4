"""Job state is a total function of what is stored, and terminal means terminal (D2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trainshed.domain.attempt import Attempt, Ending, Start, ended, job_after, started
from trainshed.domain.errors import IllegalTransition
from trainshed.domain.job import Job, JobSpec, cancel, conclude, derived, pause, resume
from trainshed.domain.retry import RetryPolicy
from trainshed.domain.states import (
    LIVE,
    TERMINAL_JOB,
    AttemptState,
    Intent,
    JobState,
    Reason,
    check_attempt,
    derive_job_state,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
intents = st.sampled_from(Intent)
lives = st.none() | st.sampled_from(sorted(LIVE))
outcomes = st.none() | st.sampled_from(sorted(TERMINAL_JOB))


def job(**more: object) -> Job:
    spec = JobSpec(command=("true",), retry=RetryPolicy(max_retries=2))
    return Job("j", "a", None, "native", "n", spec, "local-cpu", NOW, **more)  # type: ignore[arg-type]


@given(intents, lives, outcomes)
def test_it_is_total_and_the_outcome_wins(
    intent: Intent, live: AttemptState | None, outcome: JobState | None
) -> None:
    state = derive_job_state(intent, live, outcome)
    if outcome is not None:
        assert state is outcome
    else:
        assert state not in TERMINAL_JOB
        assert (state is JobState.CANCELLING) == (intent is Intent.CANCEL)


@pytest.mark.parametrize(
    ("intent", "live", "state"),
    [
        (Intent.RUN, None, JobState.QUEUED),
        (Intent.RUN, AttemptState.LEASED, JobState.QUEUED),
        (Intent.RUN, AttemptState.STARTING, JobState.QUEUED),
        (Intent.RUN, AttemptState.RUNNING, JobState.RUNNING),
        (Intent.RUN, AttemptState.CHECKPOINTING, JobState.RUNNING),
        (Intent.PAUSE, None, JobState.PAUSED),
        (Intent.PAUSE, AttemptState.RUNNING, JobState.RUNNING),
        (Intent.CANCEL, AttemptState.LEASED, JobState.CANCELLING),
        (Intent.CANCEL, None, JobState.CANCELLING),
    ],
)
def test_the_table(intent: Intent, live: AttemptState | None, state: JobState) -> None:
    assert derive_job_state(intent, live, None) is state


@given(intents, st.sampled_from(sorted(TERMINAL_JOB)), st.sampled_from(sorted(TERMINAL_JOB)))
def test_an_outcome_is_written_once(intent: Intent, first: JobState, second: JobState) -> None:
    done = conclude(job(intent=intent), first, Reason.COMPLETED, "m", NOW)
    assert (done.state, done.outcome, done.ended_at) == (first, first, NOW)
    for act in (
        lambda: conclude(done, second, Reason.LOST, "", NOW),
        lambda: cancel(done, None, NOW),
        lambda: pause(done, None),
        lambda: resume(done, None),
    ):
        with pytest.raises(IllegalTransition):
            act()


@pytest.mark.parametrize("state", sorted(set(JobState) - TERMINAL_JOB))
def test_only_terminal_states_are_outcomes(state: JobState) -> None:
    with pytest.raises(IllegalTransition):
        conclude(job(), state, Reason.COMPLETED, "", NOW)


@given(st.sampled_from(AttemptState), st.sampled_from(AttemptState))
def test_an_ended_attempt_never_moves(old: AttemptState, new: AttemptState) -> None:
    if old not in LIVE or new is old or new is AttemptState.LEASED:
        with pytest.raises(IllegalTransition):
            check_attempt(old, new)
    elif new not in LIVE:
        assert check_attempt(old, new) is new


def test_a_cancelled_job_cannot_be_paused_and_a_pausing_one_not_resumed() -> None:
    asked = cancel(job(), AttemptState.RUNNING, NOW)
    assert asked.state is JobState.CANCELLING
    assert cancel(asked, AttemptState.RUNNING, NOW) == asked
    with pytest.raises(IllegalTransition):
        pause(asked, AttemptState.RUNNING)
    pausing = pause(job(), AttemptState.RUNNING)
    with pytest.raises(IllegalTransition):
        resume(pausing, AttemptState.RUNNING)
    with pytest.raises(IllegalTransition):
        resume(job(), None)
    assert resume(pause(job(), None), None).state is JobState.QUEUED


class Life(RuleBasedStateMachine):
    """Any sequence of orders and ends; the first outcome stays."""

    def __init__(self) -> None:
        super().__init__()
        self.job = job()
        self.attempt: Attempt | None = None
        self.now = NOW
        self.outcome: JobState | None = None

    def _live(self) -> AttemptState | None:
        return self.attempt.state if self.attempt is not None and self.attempt.live else None

    @precondition(lambda self: self._live() is None and self.job.state is JobState.QUEUED)
    @rule()
    def lease(self) -> None:
        n = self.job.n_attempts + 1
        self.attempt = Attempt(
            f"t{n}", "j", "a", n, n, "o", "process", "local-cpu", 1000, 2**30, self.now
        )
        self.job = derived(self.job, AttemptState.LEASED)

    @precondition(lambda self: self._live() is AttemptState.LEASED)
    @rule()
    def start(self) -> None:
        assert self.attempt is not None
        self.attempt = started(self.attempt, Start("none"), self.now)
        self.job = derived(self.job, AttemptState.RUNNING)

    @precondition(lambda self: self._live() is not None)
    @rule(
        cause=st.sampled_from(["exited", "signalled", "timeout", "lost", "memory"]),
        code=st.sampled_from([None, 0, 1]),
        order=st.sampled_from([None, "pause", "preempt"]),
    )
    def end(self, cause: str, code: int | None, order: str | None) -> None:
        assert self.attempt is not None
        self.now += timedelta(seconds=1)
        ending = Ending(cause, code, None, order, 1000)
        self.attempt = ended(self.attempt, self.job.intent, ending, self.now)
        self.job = job_after(self.job, self.attempt, self.now)

    @rule(verb=st.sampled_from(["cancel", "pause", "resume"]))
    def order(self, verb: str) -> None:
        live = self._live()
        try:
            if verb == "cancel":
                self.job = cancel(self.job, live, self.now)
            else:
                self.job = (pause if verb == "pause" else resume)(self.job, live)
        except IllegalTransition:
            pass

    @invariant()
    def state_is_derived_and_terminal_stays(self) -> None:
        live = self._live()
        assert self.job.state is derive_job_state(self.job.intent, live, self.job.outcome)
        if self.outcome is not None:
            assert self.job.outcome is self.outcome
        if self.job.terminal:
            assert live is None
            assert self.job.ended_at is not None
            assert self.job.not_before is None
        self.outcome = self.job.outcome


TestLife = Life.TestCase
