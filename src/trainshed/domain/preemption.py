"""Which running Attempts must make room: those that lose least work since their last checkpoint.

Only strictly lower priority gives way, by the priorities that users gave: ageing evicts nobody.
So an evicted Job can never evict its evictor; a minimum run time keeps it from being evicted again
before it has done something.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.attempt import STOPS, Attempt
from trainshed.domain.resources import Use
from trainshed.domain.retry import MAX_INFRASTRUCTURE

#: How many sets of victims are weighed exactly; beyond that a good set is taken.
WEIGHED = 2000


@dataclass(frozen=True, slots=True)
class Running:
    """A live Attempt with what placement must know of its Job.

    ``billed_ms``: run time that the Job's earlier Attempts were billed for.
    """

    attempt: Attempt
    priority: int
    max_runtime_s: int
    infrastructure_used: int
    billed_ms: int

    @property
    def leaving(self) -> bool:
        """Whether it was asked to stop."""
        return self.attempt.order in STOPS

    def use(self, now: datetime) -> Use:
        """Return what it occupies, and until when at the latest."""
        one = self.attempt
        left = timedelta(milliseconds=max(self.max_runtime_s * 1000 - self.billed_ms, 0))
        ends_at = (one.started_at or now) + left
        return Use(
            one.offer_id, one.millicpus, one.memory_bytes, one.devices, ends_at, self.leaving
        )


@dataclass(frozen=True, slots=True)
class Victim:
    """A running Attempt that may be evicted. ``unsaved_ms``: work since its last checkpoint.

    ``by``: the account whose Jobs alone may have it evicted; None is any.
    """

    attempt_id: str
    job_id: str
    priority: int
    use: Use
    unsaved_ms: int
    by: str | None = None

    def yields(self, account_id: str, priority: int) -> bool:
        """Whether a Job of that account and priority may have it evicted."""
        return self.priority < priority and self.by in (None, account_id)


def victims(
    running: Sequence[Running], now: datetime, min_run_s: float, preemption: str = "any"
) -> list[Victim]:
    """Return who may be evicted for a higher priority: ``own`` by Jobs of the same account, since
    everyone gives their own Jobs what priority they like; ``any`` by everyone's; ``off`` nobody.

    Not those already asked to stop, those that have held their lease for less than
    ``min_run_s``, and those whose Job would fail by one more interruption.
    """
    if preemption == "off":
        return []
    return [
        Victim(
            r.attempt.id,
            r.attempt.job_id,
            r.priority,
            r.use(now),
            unsaved_ms(r.attempt, now),
            r.attempt.account_id if preemption == "own" else None,
        )
        for r in running
        if not r.leaving
        and (now - r.attempt.leased_at).total_seconds() >= min_run_s
        and r.infrastructure_used + 1 < MAX_INFRASTRUCTURE
    ]


def unsaved_ms(attempt: Attempt, now: datetime) -> int:
    """Return the run time that stopping now would throw away, if it saved nothing more."""
    if attempt.started_at is None:
        return 0
    ran = round((now - attempt.started_at) / timedelta(milliseconds=1))
    return max(ran - attempt.checkpoint_ms, 0)


def cheapest(
    able: Sequence[Victim], enough: Callable[[Sequence[Victim]], bool]
) -> tuple[Victim, ...] | None:
    """Return the set that is ``enough`` and loses least work, then the fewest; None if there is
    none. Nobody in it could be left out.

    Sets are tried in the order of their loss. Where too many would have to be weighed, those
    that lose least are taken until it is enough, and whoever is not needed is let go again.
    """
    ranked = sorted(able, key=lambda v: (v.unsaved_ms, v.priority, v.attempt_id))
    if not ranked or not enough(ranked):
        return None
    queue: list[tuple[int, int, tuple[int, ...]]] = [(ranked[0].unsaved_ms, 1, (0,))]
    for _ in range(WEIGHED):
        if not queue:
            break
        loss, n, chosen = heapq.heappop(queue)
        picked = tuple(ranked[i] for i in chosen)
        if enough(picked):
            return picked
        last = chosen[-1] + 1
        if last < len(ranked):
            more = ranked[last].unsaved_ms
            heapq.heappush(queue, (loss + more, n + 1, (*chosen, last)))
            swapped = loss - picked[-1].unsaved_ms + more
            heapq.heappush(queue, (swapped, n, (*chosen[:-1], last)))
    return _greedy(ranked, enough)


def _greedy(
    ranked: Sequence[Victim], enough: Callable[[Sequence[Victim]], bool]
) -> tuple[Victim, ...]:
    taken: list[Victim] = []
    for one in ranked:
        taken.append(one)
        if enough(taken):
            break
    for one in reversed(list(taken)):
        rest = [v for v in taken if v is not one]
        if enough(rest):
            taken = rest
    return tuple(taken)
