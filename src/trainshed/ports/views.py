"""Frozen read views that the doors render. They carry domain values; no dialect's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainshed.domain.attempt import Attempt
from trainshed.domain.delivery import Subscription
from trainshed.domain.job import Job
from trainshed.domain.outlook import Outlook
from trainshed.domain.people import Account, Key, User
from trainshed.domain.resources import Free, Pool
from trainshed.domain.schedule import Phase, Schedule
from trainshed.domain.states import JobState, Reason
from trainshed.domain.waiting import WaitReason
from trainshed.ports.streams import Bucket, Point


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job as its owner sees it. ``attempts`` by number; ``latest`` are its newest metric
    points; ``reserved_ucredits`` is its first, largest hold, open or not.
    """

    job: Job
    attempts: tuple[Attempt, ...] = ()
    wait: WaitReason | None = None
    latest: Mapping[str, Point] = field(default_factory=dict)
    held_ucredits: int = 0
    captured_ucredits: int = 0
    reserved_ucredits: int = 0

    @property
    def attempt(self) -> Attempt | None:
        """The newest Attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def evicted(self) -> bool:
        """Whether it waits to run again after the platform stopped it: preempted or drained."""
        one = self.attempt
        waits = self.job.state is JobState.QUEUED
        return waits and one is not None and one.reason in (Reason.PREEMPTED, Reason.DRAINED)

    @property
    def resuming(self) -> bool:
        """Whether it was placed again, and its process has not started yet."""
        one = self.attempt
        placed = self.job.state is JobState.QUEUED and one is not None and one.live
        return placed and one is not None and one.number > 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a Job says it is; None where it says nothing."""

    epoch: float | None
    epoch_total: float | None
    step: int
    loss: float | None


@dataclass(frozen=True, slots=True)
class PlanView:
    """What submitting would mean: price, reservation, placement, and when it would start."""

    pool: Pool
    price_ucredits_per_hour: int
    hold_ucredits: int
    fallback: bool
    starts: WaitReason
    outlook: Outlook
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Bytes ``[offset, next)`` of one log stream; ``size`` is where it ends now."""

    attempt: int
    stream: str
    offset: int
    next: int
    size: int
    truncated: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class SeriesView:
    """One metric over the whole Job. Points, or buckets when there are more than asked for."""

    key: str
    points: tuple[Point, ...] = ()
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferView:
    """An offer, what is free of it, and its pool's price. ``drained_at``: since when it takes
    nothing new.
    """

    free: Free
    pool: Pool
    drained_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoginView:
    """A new session; ``token`` is shown this once."""

    token: str
    expires_at: datetime
    user: User
    account: Account


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key; ``secret`` only when just made or rotated."""

    key: Key
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A Schedule, where it is, and the Job of its newest fire."""

    schedule: Schedule
    phase: Phase
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """Where events go; ``target`` as its owner may see it, ``health`` as ``delivery.health`` says.

    ``secret`` only when just made or rotated.
    """

    subscription: Subscription
    target: str
    health: str
    secret: str | None = field(default=None, repr=False)
