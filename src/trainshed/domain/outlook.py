"""Where a waiting Job stands and when it starts at the latest: the scheduler itself, run ahead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainshed.domain.fairshare import turns
from trainshed.domain.placement import Candidate, Placement, place
from trainshed.domain.preemption import Victim
from trainshed.domain.resources import Offer, Pool, Use

#: How many looks at a Job one outlook may cost; beyond that the start is not known.
LOOKS = 20_000
#: Seconds that whoever was asked to leave is expected to need.
LEAVE_S = 10.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """``position`` in the queue, 1 is next, 0 for a Job that does not wait. ``starts_at``: when
    it starts if everything before it runs for as long as it may; None if that is not known.
    """

    position: int
    starts_at: datetime | None


def position(
    job_id: str,
    candidates: Sequence[Candidate],
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    now: datetime,
) -> int:
    """Return the turn of a candidate, from 1, as if each were placed in its turn."""
    placed: list[str] = []
    for one, _ in turns(candidates, usage, weights, now, placed):
        placed.append(one.job_id)
        if one.job_id == job_id:
            return len(placed)
    return 0


def starts_at(
    job_id: str,
    candidates: Sequence[Candidate],
    offers: Sequence[Offer],
    uses: Sequence[Use],
    pools: Mapping[str, Pool],
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    now: datetime,
    cpu_fallback: bool,
    drained: Collection[str] = (),
    victims: Sequence[Victim] = (),
) -> datetime | None:
    """Return when a candidate starts: rounds are run ahead, from one declared end to the next."""
    busy = [_ending(u, now) for u in uses]
    waiting = {c.job_id: c for c in candidates}
    looks, at = LOOKS, now
    while looks > 0 and job_id in waiting:
        looks -= len(waiting)
        made = place(
            list(waiting.values()), offers, busy, pools, usage, weights, at, cpu_fallback,
            drained, victims,
        )  # fmt: skip
        for one in made.placements:
            busy.append(_use(one, at, waiting.pop(one.job_id)))
        if job_id not in waiting:
            return at
        leaving = {v.use for v in made.evictions}
        soon = at + timedelta(seconds=LEAVE_S)
        busy = [replace(u, ends_at=soon, leaving=True) if u in leaving else u for u in busy]
        victims = ()
        ends = [u.ends_at for u in busy if u.ends_at is not None]
        if not ends:
            return None
        at = min(ends)
        busy = [u for u in busy if u.ends_at is None or u.ends_at > at]
    return None


def _ending(use: Use, now: datetime) -> Use:
    """Whoever was asked to leave, or should have ended, does so soon."""
    soon = now + timedelta(seconds=LEAVE_S)
    if use.ends_at is None and not use.leaving:
        return use
    overdue = use.leaving or (use.ends_at is not None and use.ends_at <= now)
    return replace(use, ends_at=soon) if overdue else use


def _use(one: Placement, at: datetime, candidate: Candidate) -> Use:
    ends_at = at + timedelta(seconds=candidate.max_runtime_s)
    return Use(one.offer_id, one.millicpus, one.memory_bytes, one.devices, ends_at)
