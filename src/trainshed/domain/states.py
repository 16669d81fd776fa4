"""States say where the machine is, reasons say why (law 3). Job state is derived, never set.

Job      QUEUED → RUNNING → SUCCEEDED | FAILED | CANCELLED, with PAUSED and CANCELLING between
Attempt  LEASED → STARTING → RUNNING (→ CHECKPOINTING → RUNNING)
                → SUCCEEDED | FAILED | CANCELLED | EVICTED | LOST
"""

from __future__ import annotations

from enum import StrEnum

from trainshed.domain.errors import IllegalTransition


class Intent(StrEnum):
    """What the user last asked of a Job."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class JobState(StrEnum):
    """Where a Job is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class AttemptState(StrEnum):
    """Where an Attempt is."""

    LEASED = "LEASED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CHECKPOINTING = "CHECKPOINTING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EVICTED = "EVICTED"
    LOST = "LOST"


class Reason(StrEnum):
    """Why an Attempt or Job ended as it did; stable words for machines."""

    COMPLETED = "completed"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIME_LIMIT = "time_limit"
    DISK_LIMIT = "disk_limit"
    START_FAILED = "start_failed"
    INPUT_MISSING = "input_missing"
    ENVIRONMENT = "environment"
    COLLECT_FAILED = "collect_failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    DRAINED = "drained"
    LOST = "lost"
    INFRASTRUCTURE = "infrastructure"


LIVE = frozenset(
    {AttemptState.LEASED, AttemptState.STARTING, AttemptState.RUNNING, AttemptState.CHECKPOINTING}
)
TERMINAL_JOB = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

_ENDS = frozenset(AttemptState) - LIVE
_NEXT: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.LEASED: frozenset({AttemptState.STARTING, AttemptState.RUNNING}) | _ENDS,
    AttemptState.STARTING: frozenset({AttemptState.RUNNING}) | _ENDS,
    AttemptState.RUNNING: frozenset({AttemptState.CHECKPOINTING}) | _ENDS,
    AttemptState.CHECKPOINTING: frozenset({AttemptState.RUNNING}) | _ENDS,
}


def check_attempt(old: AttemptState, new: AttemptState) -> AttemptState:
    """Return ``new`` if an Attempt may go there from ``old``.

    Raises:
        IllegalTransition: it may not; an ended Attempt never moves again.
    """
    if new not in _NEXT.get(old, frozenset()):
        raise IllegalTransition(f"An attempt that is {old} cannot become {new}.")
    return new


def derive_job_state(
    intent: Intent, live: AttemptState | None, outcome: JobState | None
) -> JobState:
    """Return the Job's state from what is stored (D2).

    ``live`` is the state of its one live Attempt, if any; ``outcome`` is write-once. A leased or
    starting Attempt leaves the Job QUEUED: RUNNING means that the user's process runs.
    """
    if outcome is not None:
        return outcome
    if live is not None:
        if intent is Intent.CANCEL:
            return JobState.CANCELLING
        started = live in (AttemptState.RUNNING, AttemptState.CHECKPOINTING)
        return JobState.RUNNING if started else JobState.QUEUED
    if intent is Intent.PAUSE:
        return JobState.PAUSED
    return JobState.CANCELLING if intent is Intent.CANCEL else JobState.QUEUED
