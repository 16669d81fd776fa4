"""Which waiting Job goes where, now: priority, then fair share, then best fit (G24).

The order is ``fairshare.turns``: priority with ageing, then the account whose turn it is
(re-evaluated after every placement), then inside an account ``created_at`` and id.

**Reservation.** The first Job that does not fit now, though it would on the idle machine, keeps
its best offer: at once against Jobs of lower effective priority, and against all others once it
has waited ``RESERVE_AFTER_S``. Others may pass it (backfill) with what it does not need. One
offer is kept at a time, the one with the least missing; what is missing there can only shrink.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainshed.domain.errors import ImpossibleRequest
from trainshed.domain.fairshare import turns
from trainshed.domain.resources import (
    GIB,
    MIN_MEMORY,
    MIN_MILLICPUS,
    Free,
    Offer,
    Pool,
    Resources,
    Use,
    free_of,
    shortfall,
)

#: Seconds after which a Job that does not fit reserves against Jobs of its own priority too.
RESERVE_AFTER_S = 300.0

#: Every wait reason with what it means; the documentation is generated from this table.
WAIT_CODES = {
    "ready": "fits now; placed in the next round",
    "starting": "placed; its process is being started",
    "backoff": "waits after a failure; the detail says until when",
    "no_capacity": "does not fit beside what runs now; says what is short and what would fit",
    "behind_others": "fits, but others come first",
    "reserved": "fits, but the room is kept for a larger job that has waited longer",
    "paused": "paused by request",
    "no_executor": "nothing that could run it is connected",
}

_WORDS = {"cpus": "CPUs", "memory": "memory", "gpus": "GPUs", "gpu_type": "GPU type"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Job that could be placed now. ``max_runtime_s`` is how long it runs at the most."""

    job_id: str
    account_id: str
    resources: Resources
    pool: str
    priority: int
    created_at: datetime
    max_runtime_s: int


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
class WaitReason:
    """Why a Job still waits: ``code`` of WAIT_CODES, and in ``fix`` the smallest change that would
    start it ("" where there is none).
    """

    code: str
    detail: str
    fix: str


def place(
    candidates: Sequence[Candidate],
    offers: Sequence[Offer],
    uses: Sequence[Use],
    pools: Mapping[str, Pool],
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    now: datetime,
    cpu_fallback: bool,
) -> list[Placement]:
    """Decide one round; the same input gives the same answer in whatever order it is listed.

    ``usage`` is recent core-seconds by account (a GPU as 8 cores), ``weights`` 1 where absent.
    Where the pool asked for has no room, a GPU Job that may run in others takes the cheapest.
    """
    room = _Room(offers, uses, pools, falls_back(offers, cpu_fallback))
    able = [c for c in candidates if room.possible(c.resources)]
    placements: list[Placement] = []
    for one, level in turns(able, usage, weights, now, placements):
        made = room.take(one, level)
        if made is not None:
            placements.append(made)
        else:
            room.blocked(one, level, (now - one.created_at).total_seconds())
    return placements


def falls_back(offers: Sequence[Offer], cpu_fallback: bool) -> bool:
    """Return whether GPU Jobs run on CPUs here: allowed, and no machine has a GPU (D10)."""
    return cpu_fallback and not any(o.devices for o in offers)


class _Room:
    """What is left while a round fills it; lives for one call of ``place``."""

    def __init__(
        self,
        offers: Sequence[Offer],
        uses: Sequence[Use],
        pools: Mapping[str, Pool],
        fallback: bool,
    ) -> None:
        by_offer: dict[str, list[Use]] = defaultdict(list)
        for use in uses:
            by_offer[use.offer_id].append(use)
        self.free = [free_of(offer, by_offer[offer.id]) for offer in offers]
        self.idle = [free_of(offer, []) for offer in offers]
        self.price = {name: pool.price_ucredits for name, pool in pools.items()}
        self.fallback = fallback
        self.known: dict[Resources, bool] = {}
        self.full: set[Resources] = set()
        self.kept: tuple[int, Resources] | None = None
        self.claim: tuple[Resources, int] | None = None

    def possible(self, want: Resources) -> bool:
        """Whether an idle offer could hold ``want``."""
        if want not in self.known:
            self.known[want] = any(self._fits(want, idle) for idle in self.idle)
        return self.known[want]

    def _fits(self, want: Resources, free: Free) -> bool:
        return shortfall(want, free, self.fallback) is None

    def take(self, one: Candidate, level: int) -> Placement | None:
        """Place ``one`` on the offer it fits best and use that room up; None if none has room."""
        if self.claim is not None and self.kept is None and self.claim[1] > level:
            self._keep(self.claim[0])
        want = one.resources
        if want in self.full:
            return None
        fits = [i for i in range(len(self.free)) if self._fits(want, self._open(i))]
        if not fits:
            # Room only shrinks within a round: whoever asks the same need not be tried again.
            self.full.add(want)
            return None
        best = min(fits, key=lambda i: self._tightness(one, self.free[i]))
        free = self.free[best]
        fell = want.gpus > 0 and not free.offer.devices
        devices = free.devices[: 0 if fell else want.gpus]
        offer = free.offer
        self.free[best] = free.after(Use(offer.id, want.millicpus, want.memory_bytes, devices))
        return Placement(
            one.job_id, offer.id, offer.executor, offer.pool,
            want.millicpus, want.memory_bytes, devices, fell,
        )  # fmt: skip

    def blocked(self, one: Candidate, level: int, waited_s: float) -> None:
        """Note that ``one`` did not fit: it may reserve, now or against lower levels."""
        if self.kept is not None or (self.claim is not None and waited_s < RESERVE_AFTER_S):
            return
        if waited_s >= RESERVE_AFTER_S:
            self._keep(one.resources)
        else:
            self.claim = (one.resources, level)

    def _keep(self, want: Resources) -> None:
        could = [i for i, idle in enumerate(self.idle) if self._fits(want, idle)]
        best = min(could, key=lambda i: (missing(want, self.free[i]), self.free[i].offer.id))
        self.kept = (best, want)

    def _open(self, i: int) -> Free:
        """What is free of an offer and not reserved."""
        free = self.free[i]
        if self.kept is None or self.kept[0] != i:
            return free
        want = self.kept[1]
        return Free(
            free.offer,
            max(free.millicpus - want.millicpus, 0),
            max(free.memory_bytes - want.memory_bytes, 0),
            free.devices[want.gpus :],
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


def explain(
    candidate: Candidate,
    offers: Sequence[Offer],
    uses: Sequence[Use],
    n_ahead: int,
    cpu_fallback: bool,
    reserved: bool = False,
) -> WaitReason:
    """Return why a placeable Job still waits. ``reserved``: the caller knows that a round passed
    it over although it would have fitted.
    """
    if not offers:
        return WaitReason(
            "no_executor", "No machine is connected.", "Wait for one, or ask the operator."
        )
    want, fallback = candidate.resources, falls_back(offers, cpu_fallback)
    idle = [free_of(o, []) for o in offers]
    could = [f.offer for f in idle if shortfall(want, f, fallback) is None]
    if not could:
        near = min(idle, key=lambda f: (_misfit(want, f, fallback), f.offer.id))
        return _short(want, near, fallback, "even when idle", "")
    frees = [free_of(o, list(uses)) for o in could]
    queue = "1 job comes first." if n_ahead == 1 else f"{n_ahead} jobs come first."
    if all(shortfall(want, f, fallback) is not None for f in frees):
        near = min(frees, key=lambda f: (missing(want, f), f.offer.id))
        return _short(want, near, fallback, "free now", f" {queue}" if n_ahead > 0 else "")
    if reserved:
        return WaitReason(
            "reserved", "The room is kept for a larger job that has waited longer.",
            "Wait, or raise its priority.",
        )  # fmt: skip
    if n_ahead > 0:
        return WaitReason("behind_others", queue, "Wait, or raise its priority.")
    return WaitReason("ready", "It fits; it is placed in the next round.", "")


def _misfit(want: Resources, free: Free, fallback: bool) -> tuple[int, float]:
    """How far off an offer is: with the GPU asked for, with another, with none."""
    if want.gpus and not free.offer.devices and not fallback:
        return (2, missing(want, free))
    return (int(shortfall(want, free, fallback) == "gpu_type"), missing(want, free))


def _short(want: Resources, free: Free, fallback: bool, when: str, behind: str) -> WaitReason:
    """Name what is short on the nearest offer, how much there is, and what would fit."""
    on_gpus = want.gpus > 0 and not (fallback and not free.offer.devices)
    short: list[tuple[str, str, str]] = []
    if on_gpus and want.gpu_type not in (None, free.offer.gpu_type):
        there = free.offer.gpu_type or "none"
        short.append(("gpu_type", str(want.gpu_type), there))
    if on_gpus and want.gpus > len(free.devices):
        short.append(("gpus", str(want.gpus), str(len(free.devices))))
    if want.millicpus > free.millicpus:
        short.append(("cpus", _cpus(want.millicpus), _cpus(free.millicpus)))
    if want.memory_bytes > free.memory_bytes:
        short.append(("memory", _size(want.memory_bytes), _size(free.memory_bytes)))
    detail = "; ".join(f"{_WORDS[k]}: {asked} wanted, {there} {when}" for k, asked, there in short)
    usable = [f"{_WORDS[k]} to {there}" for k, _, there in short if _usable(k, free)]
    if len(usable) == len(short):
        verb = "or wait for running jobs to end." if when == "free now" else "or add a machine."
        fix = f"Lower {' and '.join(usable)}, {verb}"
    else:
        fix = "Wait for running jobs to end." if when == "free now" else "Add a machine with more."
    return WaitReason("no_capacity", f"{detail}.{behind}", fix)


def _usable(kind: str, free: Free) -> bool:
    """Whether what there is of ``kind`` could be asked for instead."""
    there = {
        "cpus": free.millicpus >= MIN_MILLICPUS,
        "memory": free.memory_bytes >= MIN_MEMORY,
        "gpus": len(free.devices) > 0,
    }
    return there.get(kind, False)


def check_possible(
    resources: Resources, offers: Sequence[Offer], pools: Mapping[str, Pool], cpu_fallback: bool
) -> None:
    """Refuse what could never start, even with every machine idle. Without any offer nothing is
    known: such a Job is accepted and waits with ``no_executor``.

    Raises:
        ImpossibleRequest: ``extra['largest']`` is the nearest machine, idle: ``{cpus,
            memory_bytes, gpus, gpu_type, vram_bytes, pool, gpu_types}``, the last of all machines.
    """
    fallback = falls_back(offers, cpu_fallback)
    idle = [free_of(o, []) for o in offers]
    if not idle or any(shortfall(resources, f, fallback) is None for f in idle):
        return
    near = min(idle, key=lambda f: (_misfit(resources, f, fallback), f.offer.id))
    offer = near.offer
    kind = shortfall(resources, near, fallback)
    gpus = f"{len(offer.devices)} × {offer.gpu_type}" if offer.devices else "no GPU"
    raise ImpossibleRequest(
        "No machine could ever run this. The largest that comes near has"
        f" {_cpus(offer.millicpus)} CPUs, {_size(offer.memory_bytes)} of memory and {gpus};"
        " ask for no more than that.",
        field="resources.memory_bytes" if kind == "memory" else f"resources.{kind}",
        largest={
            "cpus": offer.millicpus / 1000,
            "memory_bytes": offer.memory_bytes,
            "gpus": len(offer.devices),
            "gpu_type": offer.gpu_type,
            "vram_bytes": pools[offer.pool].vram_bytes if offer.pool in pools else 0,
            "pool": offer.pool,
            "gpu_types": sorted({o.gpu_type for o in offers if o.gpu_type and o.devices}),
        },
    )


def _cpus(millicpus: int) -> str:
    return f"{max(millicpus, 0) / 1000:.3f}".rstrip("0").rstrip(".")


def _size(n_bytes: int) -> str:
    """Rounded down: what is named must fit when it is asked for."""
    n_bytes = max(n_bytes, 0)
    if n_bytes >= GIB:
        return f"{n_bytes * 100 // GIB / 100:g} GiB"
    return f"{n_bytes // 1024**2} MiB"
