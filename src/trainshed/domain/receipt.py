"""What a Job took and cost, from its Attempts, Holds and Entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.job import Job
from trainshed.domain.ledger import Entry, Hold, HoldState, Unit
from trainshed.domain.pricing import hourly
from trainshed.domain.resources import Pool
from trainshed.domain.states import AttemptState, JobState, Reason

#: The kind of an Entry that gives captured money back.
REFUND = "refund"
_WHOLE = frozenset({AttemptState.SUCCEEDED, AttemptState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Receipt:
    """Times in seconds, money in millionths of ``unit``.

    ``queued_s``: until the user's process first started (or, if never, until the end).
    ``useful_s``: running time that led to the outcome. ``lost_s``: running time thrown away, that
    is beyond a checkpoint or before a start from nothing. Together they are all running time.
    ``held``: the first, largest reservation; ``released``: what of it was given
    back, uncharged.
    ``fallback``: a GPU Job ran on CPUs, at ``pool_used``'s price;
    it is None for a Job that was never placed.
    """

    job_id: str
    state: JobState
    reason: Reason | None
    queued_s: float
    started_at: datetime | None
    ended_at: datetime | None
    useful_s: float
    lost_s: float
    n_attempts: int
    pool: str
    pool_used: str | None
    fallback: bool
    price_ucredits_per_hour: int
    held_ucredits: int
    captured_ucredits: int
    released_ucredits: int
    refunded_ucredits: int
    unit: Unit = Unit.CREDIT


def receipt_of(
    job: Job,
    attempts: Sequence[Attempt],
    holds: Sequence[Hold],
    pools: Mapping[str, Pool],
    entries: Sequence[Entry] = (),
) -> Receipt:
    """Return the receipt; for a Job that still runs it is as of its last ended Attempt."""
    tried = sorted(attempts, key=lambda a: a.number)
    useful_ms, lost_ms = _split(tried)
    started_at = min((a.started_at for a in tried if a.started_at is not None), default=None)
    until = started_at or job.ended_at or job.created_at
    used = tried[-1].pool if tried else None
    first = min(holds, key=lambda h: (h.created_at, h.id), default=None)
    held = first.amount if first else 0
    captured = sum(h.captured for h in holds)
    still_open = sum(h.amount for h in holds if h.state is HoldState.OPEN)
    return Receipt(
        job_id=job.id,
        state=job.state,
        reason=job.reason,
        queued_s=max((until - job.created_at).total_seconds(), 0.0),
        started_at=started_at,
        ended_at=job.ended_at,
        useful_s=useful_ms / 1000,
        lost_s=lost_ms / 1000,
        n_attempts=len(tried),
        pool=job.pool,
        pool_used=used,
        fallback=any(a.pool != job.pool for a in tried),
        price_ucredits_per_hour=_hourly(job, used or job.pool, pools),
        held_ucredits=held,
        captured_ucredits=captured,
        released_ucredits=max(held - captured - still_open, 0),
        refunded_ucredits=_refunded(job, entries),
        unit=first.unit if first else Unit.CREDIT,
    )


def running_ms(attempt: Attempt) -> int:
    """Return how long the user's process ran: the runner's figure, or for an Attempt that was lost
    without one, up to its last sign of life; never more than the server saw.
    """
    if attempt.started_at is None or attempt.ended_at is None:
        return 0
    seen = _ms(attempt.ended_at - attempt.started_at)
    if attempt.runtime_ms > 0:
        return min(attempt.runtime_ms, seen)
    if attempt.state is not AttemptState.LOST:
        return 0
    alive = _ms((attempt.renewed_at or attempt.started_at) - attempt.started_at)
    return min(max(alive, attempt.checkpoint_ms), seen)


def _split(tried: Sequence[Attempt]) -> tuple[int, int]:
    """Return (useful, lost) milliseconds. Walks back from the end: work before an Attempt that
    started from nothing led nowhere.
    """
    useful = lost = 0
    led_on = True
    for one in reversed(tried):
        ran = running_ms(one)
        kept = ran if one.state in _WHOLE else min(ran, one.checkpoint_ms)
        kept = kept if led_on else 0
        useful += kept
        lost += ran - kept
        if one.started_at is not None and one.resumed_from is None:
            led_on = False
    return useful, lost


def _hourly(job: Job, used: str, pools: Mapping[str, Pool]) -> int:
    pool = pools.get(used)
    if pool is None:
        return 0
    return hourly(pool, job.spec.resources)


def _refunded(job: Job, entries: Sequence[Entry]) -> int:
    return sum(
        e.amount
        for e in entries
        if e.kind == REFUND and e.job_id == job.id and e.book == job.account_id
    )


def _ms(span: timedelta) -> int:
    return max(0, round(span / timedelta(milliseconds=1)))
