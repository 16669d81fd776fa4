"""Whose turn it is: the account that used least of late, per weight, goes first (G24).

Use is counted in core-seconds, one GPU as ``GPU_CORES`` cores, and forgotten by half every
half-life, so that yesterday's heavy user is not shut out tomorrow.

**Ageing.** The Job of each account that has waited longest gains one point of priority each
``AGEING_S`` seconds, up to the highest priority anyone waits with: it stands beside an endless
stream of priority 100 after 100 minutes. Only one Job of an account is lifted in a round, and
never above the top, so ageing cannot turn one account's long queue against another's first Job.
A Job that ran and was queued again ages from then on: an evicted one does not take its room back.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Sized
from datetime import datetime
from typing import Protocol, TypeVar

from trainshed.domain.resources import Resources

#: What one GPU counts as, in cores.
GPU_CORES = 8
#: Seconds after which past use counts half.
HALF_LIFE_S = 86_400.0
#: Seconds of use that something placed or running is charged in advance; without it an account
#: could take a whole idle machine in one round before any of it counted.
ADVANCE_S = 600.0
#: Weights at or below zero count as this: such an account comes last, but it does come.
MIN_WEIGHT = 1e-6
#: Seconds of waiting that are worth one point of priority.
AGEING_S = 60.0


class Waits(Protocol):
    """What ``turns`` needs to know of a waiting Job."""

    @property
    def job_id(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def resources(self) -> Resources: ...
    @property
    def priority(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def since(self) -> datetime: ...


W = TypeVar("W", bound=Waits)


def cores(resources: Resources) -> float:
    """Return what ``resources`` count as, in cores."""
    return resources.millicpus / 1000 + resources.gpus * GPU_CORES


def decayed(core_s: float, age_s: float, half_life_s: float = HALF_LIFE_S) -> float:
    """Return what is left today of ``core_s`` core-seconds that ended ``age_s`` seconds ago."""
    return core_s * float(0.5 ** (max(age_s, 0.0) / half_life_s))


def share(used_core_s: float, live_cores: float, weight: float) -> float:
    """Return an account's standing: past and live use per weight. The least is next."""
    return (used_core_s + live_cores * ADVANCE_S) / max(weight, MIN_WEIGHT)


def order(
    used: Mapping[str, float], live: Mapping[str, float], weights: Mapping[str, float]
) -> list[str]:
    """Return every account of ``used`` and ``live``, the one whose turn it is first; ties by id.

    ``used`` is core-seconds (decayed by the caller's choice of half-life), ``live`` cores held
    now; an account without a weight has 1.
    """
    return sorted(
        used.keys() | live.keys(),
        key=lambda a: (share(used.get(a, 0.0), live.get(a, 0.0), weights.get(a, 1.0)), a),
    )


def turns(
    waiting: Sequence[W],
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    now: datetime,
    placed: Sized,
) -> Iterator[tuple[W, int]]:
    """Yield each Job with its effective priority, best first: by that, then by its account's
    ``share``, then by ``created_at`` and id.

    When ``placed`` has grown by the time the next is asked for, the account of the last one is
    charged for it.
    """
    levels: dict[int, dict[str, list[W]]] = defaultdict(lambda: defaultdict(list))
    for one, level in _levels(waiting, now):
        levels[level][one.account_id].append(one)
    taken: dict[str, float] = defaultdict(float)

    def standing(account: str) -> float:
        weight = weights.get(account, 1.0)
        return share(usage.get(account, 0.0), taken[account], weight)

    for level in sorted(levels, reverse=True):
        queues = levels[level]
        for queue in queues.values():
            queue.sort(key=lambda c: (c.created_at, c.job_id), reverse=True)
        heap = [(standing(a), a) for a in queues]
        heapq.heapify(heap)
        while heap:
            at, account = heap[0]
            one, n_before = queues[account].pop(), len(placed)
            yield one, level
            if len(placed) > n_before:
                taken[account] += cores(one.resources)
                at = standing(account)
            if queues[account]:
                heapq.heapreplace(heap, (at, account))
            else:
                heapq.heappop(heap)


def _levels(waiting: Sequence[W], now: datetime) -> Iterator[tuple[W, int]]:
    """Yield each Job with its effective priority: its own, but aged for each account's oldest."""
    top = max((one.priority for one in waiting), default=0)
    oldest: dict[str, W] = {}
    for one in waiting:
        first = oldest.setdefault(one.account_id, one)
        if (one.since, one.job_id) < (first.since, first.job_id):
            oldest[one.account_id] = one
    for one in waiting:
        aged = 0
        if oldest[one.account_id] is one:
            aged = int(max((now - one.since).total_seconds(), 0.0) / AGEING_S)
        yield one, min(one.priority + aged, top)
