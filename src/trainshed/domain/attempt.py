"""One execution of a Job: how it moves, how its end is read, and what its end means for the Job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from trainshed.domain.job import Job, conclude, derived
from trainshed.domain.retry import GiveUp, decide
from trainshed.domain.states import LIVE, AttemptState, Intent, JobState, Reason, check_attempt


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution. ``token`` is its fencing token; what it occupies is ``offer_id`` …
    ``devices``.

    ``checkpoint_ms`` is the run time that the last committed checkpoint covers; ``billable_ms``
    is set once, at the end. ``order`` is the stop order sent, if any (cancel, pause, preempt,
    drain). ``isolation`` and ``network`` are what was really built. ``image_digest``: of the
    container image it ran in; later Attempts get the same.
    """

    id: str
    job_id: str
    account_id: str
    number: int
    token: int
    offer_id: str
    executor: str
    pool: str
    millicpus: int
    memory_bytes: int
    leased_at: datetime
    devices: tuple[str, ...] = ()
    slot: int = 0
    state: AttemptState = AttemptState.LEASED
    reason: Reason | None = None
    message: str = ""
    order: str | None = None
    isolation: str | None = None
    handle: Mapping[str, Any] = field(default_factory=dict)
    renewed_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    runtime_ms: int = 0
    billable_ms: int = 0
    checkpoint_ms: int = 0
    resumed_from: str | None = None
    resumed_step: int | None = None
    runner_token_hash: str = ""
    job_token_hash: str = ""
    network: str | None = None
    image_digest: str | None = None

    @property
    def live(self) -> bool:
        """Whether it still holds its lease's resources."""
        return self.state in LIVE


@dataclass(frozen=True, slots=True)
class Start:
    """What the runner saw of the start of the user's process, ``age_ms`` before it said so.

    ``network`` and ``isolation``: as they were really built.
    """

    isolation: str
    network: str | None = None
    image_digest: str | None = None
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """What the runner (or the reaper) saw of the end.

    ``cause``: exited, signalled, timeout, memory, disk, start_failed, input_missing, environment,
    collect_failed or lost. ``stopped_by`` is the order that was delivered before the process ended.
    ``start``: of a process that was too short-lived to be told of before.
    """

    cause: str
    exit_code: int | None = None
    signal: int | None = None
    stopped_by: str | None = None
    runtime_ms: int = 0
    message: str = ""
    image_digest: str | None = None
    start: Start | None = None


_CAUSES = {
    "timeout": Reason.TIME_LIMIT,
    "memory": Reason.OUT_OF_MEMORY,
    "disk": Reason.DISK_LIMIT,
    "start_failed": Reason.START_FAILED,
    "input_missing": Reason.INPUT_MISSING,
    "environment": Reason.ENVIRONMENT,
    "collect_failed": Reason.COLLECT_FAILED,
}
#: Orders that end an Attempt; a checkpoint order does not.
STOPS = frozenset({"cancel", "pause", "preempt", "drain"})

_ORDERS = {"pause": Reason.PAUSED, "preempt": Reason.PREEMPTED, "drain": Reason.DRAINED}


def classify(intent: Intent, ending: Ending) -> tuple[AttemptState, Reason]:
    """Return the Attempt's end state and reason.

    A cancel that was acknowledged never ends as success. A pause counts only if the runner had
    delivered it: a process that finished by itself first has simply finished.
    """
    if ending.cause == "lost":
        return AttemptState.LOST, Reason.LOST
    if intent is Intent.CANCEL:
        return AttemptState.CANCELLED, Reason.CANCELLED
    if ending.cause in _CAUSES:
        return AttemptState.FAILED, _CAUSES[ending.cause]
    if ending.stopped_by in _ORDERS:
        return AttemptState.EVICTED, _ORDERS[ending.stopped_by]
    if ending.cause == "exited" and ending.exit_code == 0:
        return AttemptState.SUCCEEDED, Reason.COMPLETED
    if ending.signal is not None:
        return AttemptState.FAILED, Reason.SIGNAL
    return AttemptState.FAILED, Reason.EXIT_CODE


def started(attempt: Attempt, start: Start, now: datetime) -> Attempt:
    """Return the Attempt whose user process has started, never before its lease."""
    check_attempt(attempt.state, AttemptState.RUNNING)
    began = max(attempt.leased_at, now - timedelta(milliseconds=max(start.age_ms, 0)))
    return replace(
        attempt, state=AttemptState.RUNNING, isolation=start.isolation, started_at=began,
        renewed_at=now, network=start.network,
        image_digest=start.image_digest or attempt.image_digest,
    )  # fmt: skip


def billable(
    attempt: Attempt, state: AttemptState, reason: Reason, runtime_ms: int, now: datetime
) -> int:
    """Return the milliseconds to bill: the runner's figure, capped by what the server saw (D9).

    Ends that the user did not cause (LOST, EVICTED unless paused) bill up to the last checkpoint.
    """
    if attempt.started_at is None:
        return 0
    seen = max(0, round((now - attempt.started_at) / timedelta(milliseconds=1)))
    if state is AttemptState.LOST or reason in (Reason.PREEMPTED, Reason.DRAINED):
        # Whoever was lost sent no figure at the end: the checkpoint's own is the one to go by.
        return min(seen, attempt.checkpoint_ms)
    return min(max(runtime_ms, 0), seen)


def ended(attempt: Attempt, intent: Intent, ending: Ending, now: datetime) -> Attempt:
    """Return the Attempt in its end state.

    Raises:
        IllegalTransition: it has ended before.
    """
    state, reason = classify(intent, ending)
    check_attempt(attempt.state, state)
    return replace(
        attempt,
        state=state,
        reason=reason,
        message=ending.message,
        image_digest=attempt.image_digest or ending.image_digest or None,
        ended_at=now,
        exit_code=ending.exit_code,
        signal=ending.signal,
        runtime_ms=max(ending.runtime_ms, 0),
        billable_ms=billable(attempt, state, reason, ending.runtime_ms, now),
    )


def job_after(job: Job, attempt: Attempt, now: datetime) -> Job:
    """Return the Job after ``attempt`` ended: concluded, paused, or queued again by its policy;
    then its message says why the Attempt ended.
    """
    state, reason = attempt.state, attempt.reason or Reason.LOST
    if state is AttemptState.SUCCEEDED:
        return conclude(job, JobState.SUCCEEDED, reason, attempt.message, now)
    if state is AttemptState.CANCELLED or job.intent is Intent.CANCEL:
        return conclude(job, JobState.CANCELLED, Reason.CANCELLED, attempt.message, now)
    if reason is Reason.PAUSED:
        return derived(job, None)
    step = decide(job.spec.retry, state, reason, job.retries_used, job.infrastructure_used, now)
    if isinstance(step, GiveUp):
        return conclude(job, JobState.FAILED, step.reason, attempt.message, now)
    again = replace(
        job,
        message=attempt.message,
        not_before=step.not_before,
        retries_used=job.retries_used + step.consumes,
        infrastructure_used=job.infrastructure_used + (not step.consumes),
    )
    return derived(again, None)
