"""Which waiting Job goes where, now: priority, then fair share, then best fit (G24).

The order is ``fairshare.turns``: priority with ageing, then the account whose turn it is
(re-evaluated after every placement), then inside an account ``created_at`` and id.

**Reservation.** The first Job that does not fit now, though it would on the idle machine, keeps
its best offer: at once against Jobs of lower effective priority, and against all others once it
has waited ``RESERVE_AFTER_S``. Others may pass it (backfill) with what it does not need, or with
all of it if they end before it could start by the running Attempts' declared run times.

**Eviction.** A Job that does not fit may have Attempts of strictly lower priority stopped
(``preemption``). What they leave is kept for it from then on, as is room that others were
already asked to leave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from trainshed.domain.fairshare import turns
from trainshed.domain.preemption import Victim, cheapest
from trainshed.domain.resources import Free, Offer, Pool, Resources, Use, free_of, shortfall

#: Seconds after which a Job that does not fit reserves against Jobs of its own priority too.
RESERVE_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Job that could be placed now. ``max_runtime_s`` is how long it runs at the most;
    ``queued_at`` is when it was queued again, if it ran before; ``bench`` the board on which it
    measures, '' for none.
    """

    job_id: str
    account_id: str
    resources: Resources
    pool: str
    priority: int
    created_at: datetime
    max_runtime_s: int
    queued_at: datetime | None = None
    bench: str = ""

    @property
    def since(self) -> datetime:
        """Since when it has waited without a break."""
        return self.queued_at or self.created_at


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision. ``pool`` is the offer's; with ``fallback`` a GPU Job runs on CPUs (D10)."""

    job_id: str
    offer_id: str
    executor: str
    pool: str
    millicpus: int
    memory_bytes: int
    devices: tuple[str, ...]
    fallback: bool


@dataclass(frozen=True, slots=True)
class Round:
    """What one round decides: who starts where, and which Attempts must make room."""

    placements: list[Placement]
    evictions: list[Victim]


def place(
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
    bench_room: Mapping[str, int] = MappingProxyType({}),
) -> Round:
    """Decide one round; the same input gives the same answer in whatever order it is listed.

    ``usage`` is recent core-seconds by account (a GPU as 8 cores), ``weights`` 1 where absent.
    Where the pool asked for has no room, a GPU Job that may run in others takes the cheapest.
    Nothing starts on ``drained`` offers. ``victims`` are those who may be evicted; their uses
    are among ``uses``. ``bench_room``: how many more that measure on a board may start; whoever
    is beyond it is passed over.
    """
    able = [o for o in offers if o.id not in drained]
    room = _Room(able, uses, pools, falls_back(offers, cpu_fallback), now, victims)
    placements: list[Placement] = []
    possible = [c for c in candidates if room.possible(c.resources)]
    left = dict(bench_room)
    for one, level in turns(possible, usage, weights, now, placements):
        if left.get(one.bench, 1) <= 0:
            continue
        made = room.take(one, level)
        if made is not None:
            placements.append(made)
            left[one.bench] = left.get(one.bench, 1) - (one.bench in bench_room)
        else:
            room.blocked(one, level)
    return Round(placements, room.evicted)


def falls_back(offers: Sequence[Offer], cpu_fallback: bool) -> bool:
    """Return whether GPU Jobs run on CPUs here: allowed, and no machine has a GPU (D10)."""
    return cpu_fallback and not any(o.devices for o in offers)


def fitting(
    offers: Sequence[Offer], uses: Sequence[Use], drained: Collection[str], cpu_fallback: bool
) -> Callable[[Resources], bool]:
    """Return the question whether something fits beside what runs now."""
    fallback = falls_back(offers, cpu_fallback)
    frees = [free_of(o, list(uses)) for o in offers if o.id not in drained]
    return lambda want: any(shortfall(want, f, fallback) is None for f in frees)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Room kept for ``want``, which starts at ``start_at`` at the latest (None: unknown)."""

    want: Resources
    start_at: datetime | None


class _Room:
    """What is left while a round fills it; lives for one call of ``place``."""

    def __init__(
        self,
        offers: Sequence[Offer],
        uses: Sequence[Use],
        pools: Mapping[str, Pool],
        fallback: bool,
        now: datetime,
        victims: Sequence[Victim],
    ) -> None:
        by_offer: dict[str, list[Use]] = defaultdict(list)
        for use in uses:
            by_offer[use.offer_id].append(use)
        self.busy = [by_offer[offer.id] for offer in offers]
        self.free = [free_of(o, taken) for o, taken in zip(offers, self.busy, strict=True)]
        self.idle = [free_of(offer, []) for offer in offers]
        self.price = {name: pool.price_ucredits for name, pool in pools.items()}
        self.fallback = fallback
        self.now = now
        self.victims = [[v for v in victims if v.use.offer_id == o.id] for o in offers]
        self.evicted: list[Victim] = []
        self.known: dict[Resources, bool] = {}
        self.full: set[tuple[Resources, int]] = set()
        self.kept: dict[int, list[_Kept]] = {}
        self.promised: dict[int, list[Resources]] = {}
        self.reserved = False
        self.claim: tuple[Candidate, int] | None = None

    def possible(self, want: Resources) -> bool:
        """Whether an idle offer could hold ``want``."""
        if want not in self.known:
            self.known[want] = any(self._fits(want, idle) for idle in self.idle)
        return self.known[want]

    def _fits(self, want: Resources, free: Free) -> bool:
        return shortfall(want, free, self.fallback) is None

    def take(self, one: Candidate, level: int) -> Placement | None:
        """Place ``one`` on the offer it fits best and use that room up; None if none has room."""
        if self.claim is not None and not self.reserved and self.claim[1] > level:
            self._reserve(self.claim[0])
        want = one.resources
        # Room only shrinks within a round: whoever asks the same need not be tried again.
        asked = (want, one.max_runtime_s if self.kept else 0)
        if asked in self.full or (want, 0) in self.full:
            return None
        fits = [i for i in range(len(self.free)) if self._fits(want, self._open(i, one))]
        if not fits:
            self.full.add(asked)
            return None
        best = min(fits, key=lambda i: self._tightness(one, self.free[i]))
        free = self.free[best]
        fell = want.gpus > 0 and not free.offer.devices
        devices = free.devices[: 0 if fell else want.gpus]
        offer = free.offer
        ends_at = self.now + timedelta(seconds=one.max_runtime_s)
        use = Use(offer.id, want.millicpus, want.memory_bytes, devices, ends_at)
        self.free[best] = free.after(use)
        self.busy[best].append(use)
        return Placement(
            one.job_id, offer.id, offer.executor, offer.pool,
            want.millicpus, want.memory_bytes, devices, fell,
        )  # fmt: skip

    def blocked(self, one: Candidate, level: int) -> None:
        """Note that ``one`` did not fit: room that is being left may be kept for it, others may
        be evicted for it, or it may reserve, now or against lower levels.
        """
        if self._leaving(one) or self._evict(one) or self.reserved:
            return
        if (self.now - one.since).total_seconds() >= RESERVE_AFTER_S:
            self._reserve(one)
        elif self.claim is None:
            self.claim = (one, level)

    def _leaving(self, one: Candidate) -> bool:
        """Keep room for ``one`` where those asked to leave make enough; False where none is."""
        able = [
            i
            for i, busy in enumerate(self.busy)
            if any(u.leaving for u in busy) and self._fits(one.resources, self._coming(i, ()))
        ]
        if not able:
            return False
        best = min(able, key=lambda i: self._tightness(one, self.free[i]))
        self.promised.setdefault(best, []).append(one.resources)
        return True

    def _evict(self, one: Candidate) -> bool:
        """Choose whom to stop for ``one`` so that least work is lost; False if nobody may be."""
        found: tuple[tuple[int, int, str], int, tuple[Victim, ...]] | None = None
        for i, there in enumerate(self.victims):
            lower = [v for v in there if v.yields(one.account_id, one.priority)]
            if not lower or not self._fits(one.resources, self.idle[i]):
                continue
            chosen = cheapest(lower, self._enough(i, one.resources))
            if chosen is not None:
                loss = sum(v.unsaved_ms for v in chosen)
                cost = (loss, len(chosen), self.free[i].offer.id)
                if found is None or cost < found[0]:
                    found = (cost, i, chosen)
        if found is None:
            return False
        _, i, chosen = found
        self.evicted += chosen
        gone = {v.attempt_id for v in chosen}
        self.victims[i] = [v for v in self.victims[i] if v.attempt_id not in gone]
        for victim in chosen:
            at = self.busy[i].index(victim.use)
            self.busy[i][at] = replace(victim.use, leaving=True)
        self.promised.setdefault(i, []).append(one.resources)
        return True

    def _enough(self, i: int, want: Resources) -> Callable[[Sequence[Victim]], bool]:
        """Return the question whether ``want`` fits an offer once some victims have left it."""
        return lambda some: self._fits(want, self._coming(i, some))

    def _coming(self, i: int, victims: Sequence[Victim]) -> Free:
        """What an offer will have once the leaving and ``victims`` have left, beside what is
        kept there.
        """
        free = self.free[i]
        for use in (*(u for u in self.busy[i] if u.leaving), *(v.use for v in victims)):
            free = free.without(use)
        for want in (*(k.want for k in self.kept.get(i, ())), *self.promised.get(i, ())):
            free = free.less(want)
        return free

    def _reserve(self, one: Candidate) -> None:
        """Keep the offer with the least missing for ``one``: what is missing can only shrink."""
        want = one.resources
        could = [i for i, idle in enumerate(self.idle) if self._fits(want, idle)]
        best = min(could, key=lambda i: (missing(want, self.free[i]), self.free[i].offer.id))
        self.reserved = True
        self.kept.setdefault(best, []).append(_Kept(want, self._start_at(best, want)))

    def _start_at(self, i: int, want: Resources) -> datetime | None:
        """When ``want`` fits an offer at the latest, by the declared ends of what runs there."""
        free = self.free[i]
        known = [(self.now if u.leaving else u.ends_at, u) for u in self.busy[i]]
        for ends_at, use in sorted(
            ((at, u) for at, u in known if at is not None), key=lambda row: row[0]
        ):
            free = free.without(use)
            if self._fits(want, free):
                return ends_at
        return None

    def _open(self, i: int, one: Candidate) -> Free:
        """What is free of an offer to ``one``: not what is kept for those who start before it
        would end, nor what those need beside the room that is being left for them.
        """
        free = self.free[i]
        ends_at = self.now + timedelta(seconds=one.max_runtime_s)
        for kept in self.kept.get(i, ()):
            if kept.start_at is None or ends_at > kept.start_at:
                free = free.less(kept.want)
        if i not in self.promised:
            return free
        coming = self._coming(i, ())
        return Free(
            free.offer,
            min(free.millicpus, coming.millicpus),
            min(free.memory_bytes, coming.memory_bytes),
            free.devices[: len(coming.devices)],
        )

    def _tightness(self, one: Candidate, free: Free) -> tuple[bool, int, int, int, int, str]:
        """Least is best: no GPUs for those who want none, the pool asked for, then the cheapest,
        then whichever is left with least.
        """
        on_gpus = one.resources.gpus > 0 and bool(free.offer.devices)
        foreign = on_gpus and free.offer.pool != one.pool
        return (
            not one.resources.gpus and bool(free.offer.devices),
            1 + self.price.get(free.offer.pool, 0) if foreign else 0,
            len(free.devices),
            free.millicpus,
            free.memory_bytes,
            free.offer.id,
        )


def missing(want: Resources, free: Free) -> float:
    """Return how far ``free`` is from ``want``: the sum of the missing fractions, 0 if it fits."""
    gaps = [
        max(want.millicpus - free.millicpus, 0) / max(want.millicpus, 1),
        max(want.memory_bytes - free.memory_bytes, 0) / max(want.memory_bytes, 1),
    ]
    if want.gpus and free.offer.devices:
        gaps.append(max(want.gpus - len(free.devices), 0) / want.gpus)
    return sum(gaps)
