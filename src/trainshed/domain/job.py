"""A Job: what a user asked for. One id for life; its state is derived from intent, lease and
outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from trainshed.domain.environment import Environment
from trainshed.domain.errors import IllegalTransition, InvalidInput
from trainshed.domain.resources import Resources
from trainshed.domain.retry import RetryPolicy
from trainshed.domain.states import (
    TERMINAL_JOB,
    AttemptState,
    Intent,
    JobState,
    Reason,
    derive_job_state,
)

MAX_RUNTIME_S = 30 * 86_400
MAX_PRIORITY = 1000
MAX_EVERY = 1_000_000


class Network(StrEnum):
    """What a job may reach (D17). ``default`` lets the server choose."""

    DEFAULT = "default"
    HOST = "host"
    EGRESS = "egress"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class InputRef:
    """A file or folder put at ``path`` (relative, POSIX) in the workspace before the start.

    ``source`` is ``upload`` (ref: upload id) or ``artifact`` (ref: artifact id); ``unpack``
    unpacks a zip or tar at ``path``.
    """

    source: str
    ref: str
    path: str
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What all dialects translate into (D7). The values of ``env`` are secrets, kept sealed
    apart. ``checkpoint_every_epochs``: a snapshot each time so many further epochs were reported.

    ``checkpoint_path`` names a volume of the account (D8): the checkpoint directory is shown at
    that path where the sandbox can, and begins with what the last Job with that path left.
    ``resume_flag`` is appended to the command, with the checkpoint's path, when it resumes.
    """

    workload: str = "command"
    params: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    inputs: tuple[InputRef, ...] = ()
    env_names: tuple[str, ...] = ()
    environment: Environment = field(default_factory=Environment)
    resources: Resources = field(default_factory=Resources)
    max_runtime_s: int = 86_400
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    priority: int = 0
    network: Network = Network.DEFAULT
    labels: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 10.0
    checkpoint_every_epochs: int | None = None
    checkpoint_path: str = ""
    resume_flag: str = ""

    def check(self) -> JobSpec:
        """Return self if every bounded figure is within its bounds.

        Raises:
            InvalidInput: naming the field.
        """
        self.resources.check()
        self.retry.check()
        if not 1 <= self.max_runtime_s <= MAX_RUNTIME_S:
            raise InvalidInput(
                f"max_runtime_s must be 1 to {MAX_RUNTIME_S} (30 days).", field="max_runtime_s"
            )
        if abs(self.priority) > MAX_PRIORITY:
            raise InvalidInput("priority must be -1000 to 1000.", field="priority")
        if not 0 <= self.grace_s <= 600:
            raise InvalidInput("grace_s must be 0 to 600 seconds.", field="grace_s")
        if self.checkpoint_every_epochs is not None and not (
            1 <= self.checkpoint_every_epochs <= MAX_EVERY
        ):
            raise InvalidInput(
                f"checkpoint_every_epochs must be 1 to {MAX_EVERY}.",
                field="checkpoint_every_epochs",
            )
        if not self.command or not all(self.command[:1]):
            raise InvalidInput("command must name a program.", field="command")
        return self


@dataclass(frozen=True, slots=True)
class Job:
    """The Job as it is stored. ``state`` is always ``derive_job_state`` of the rest."""

    id: str
    account_id: str
    user_id: str | None
    dialect: str
    name: str
    spec: JobSpec
    pool: str
    created_at: datetime
    state: JobState = JobState.QUEUED
    intent: Intent = Intent.RUN
    outcome: JobState | None = None
    reason: Reason | None = None
    message: str = ""
    not_before: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    retry_of: str | None = None
    retries_used: int = 0
    infrastructure_used: int = 0
    n_attempts: int = 0
    deleted_at: datetime | None = None
    key_id: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether an outcome has been written."""
        return self.outcome is not None


def derived(job: Job, live: AttemptState | None) -> Job:
    """Return the Job with ``state`` recomputed; every change of a Job ends with this."""
    return replace(job, state=derive_job_state(job.intent, live, job.outcome))


def conclude(job: Job, outcome: JobState, reason: Reason, message: str, now: datetime) -> Job:
    """Write the outcome, once.

    Raises:
        IllegalTransition: the Job already has one.
    """
    if job.outcome is not None or outcome not in TERMINAL_JOB:
        raise IllegalTransition(f"The job has already ended: {job.outcome}.")
    ended = replace(
        job, outcome=outcome, reason=reason, message=message, ended_at=now, not_before=None
    )
    return derived(ended, None)


def cancel(job: Job, live: AttemptState | None, now: datetime) -> Job:
    """Return the Job asked to end. With no live Attempt it ends here; asking again changes nothing.

    Raises:
        IllegalTransition: it has already ended.
    """
    _must_live(job, "cancelled")
    asked = replace(job, intent=Intent.CANCEL)
    if live is None:
        return conclude(asked, JobState.CANCELLED, Reason.CANCELLED, "Cancelled.", now)
    return derived(asked, live)


def pause(job: Job, live: AttemptState | None) -> Job:
    """Return the Job asked to stop at a checkpoint and wait.

    Raises:
        IllegalTransition: it has ended or is being cancelled.
    """
    _must_live(job, "paused")
    if job.intent is Intent.CANCEL:
        raise IllegalTransition("The job is being cancelled and cannot be paused.")
    return derived(replace(job, intent=Intent.PAUSE), live)


def resume(job: Job, live: AttemptState | None) -> Job:
    """Return the paused Job asked to run again.

    Raises:
        IllegalTransition: it is not paused.
    """
    _must_live(job, "resumed")
    if job.intent is not Intent.PAUSE:
        raise IllegalTransition(f"Only a paused job can be resumed; this one is {job.state}.")
    if live is not None:
        raise IllegalTransition("The job is still pausing; resume it once it is PAUSED.")
    return derived(replace(job, intent=Intent.RUN, not_before=None), live)


def _must_live(job: Job, verb: str) -> None:
    if job.terminal:
        raise IllegalTransition(f"The job has ended ({job.outcome}) and cannot be {verb}.")
