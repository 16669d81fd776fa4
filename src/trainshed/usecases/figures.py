"""The engine in figures, for whoever watches it: read from the store when asked, never counted on
the way (law 5).
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainshed.domain.attempt import Attempt
from trainshed.domain.delivery import DeliveryState
from trainshed.domain.resources import Use
from trainshed.domain.schedule import Phase
from trainshed.domain.states import LIVE, JobState
from trainshed.ports.deliveries import Tally
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.capacity import offers_of, use_of

Samples = dict[tuple[str, ...], float]
KINDS = {"cpus": "CPUs", "memory_bytes": "Memory", "gpus": "GPUs"}


class Spread:
    """How values are spread over the buckets up to each of ``bounds``."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with nothing seen."""
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Note one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper bound, how many up to it), as Prometheus reads it: ``le`` +Inf is all."""
        return list(zip(self._bounds, itertools.accumulate(self._counts), strict=True))


@dataclass(frozen=True, slots=True)
class Figure:
    """One named figure with its samples: values of ``labels`` -> value, in the unit it names.
    ``spreads`` instead of ``samples`` make it a histogram.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    samples: Samples = field(default_factory=dict)
    counts_up: bool = False
    spreads: dict[tuple[str, ...], Spread] | None = None


def engine_figures(deps: Deps) -> Sequence[Figure]:
    """Return what the engine does now, over all accounts; operators only."""

    def load(tx: Tx) -> tuple[dict[str, int], list[Attempt], int, list[Tally], int]:
        return (
            tx.jobs.counts(None), tx.attempts.live(), tx.events.last_seq(),
            tx.deliveries.tally(), tx.schedules.counts(None).get(Phase.FAILED, 0),
        )  # fmt: skip

    jobs, live, last, sent, failing = deps.store.read(load)
    uses = [use_of(attempt) for attempt in live]
    attempts = Counter(attempt.state for attempt in live)
    out = [
        Figure(
            "trainshed_jobs", "Jobs by state", ("state",),
            {(s.value,): float(jobs.get(s.value, 0)) for s in JobState},
        ),
        Figure(
            "trainshed_attempts_live", "Attempts that hold a lease, by state", ("state",),
            {(s.value,): float(attempts[s]) for s in sorted(LIVE)},
        ),
        Figure(
            "trainshed_events", "Events written to the log", (), {(): float(last)}, counts_up=True
        ),
        Figure(
            "trainshed_disk_free_bytes", "Free space where blobs are kept", (),
            {(): float(deps.blobs.free_bytes())},
        ),
    ]  # fmt: skip
    return [*out, *_deliveries(deps, sent), *_failing(failing), *_offers(deps, uses)]


def _deliveries(deps: Deps, sent: Sequence[Tally]) -> list[Figure]:
    names = sorted({*deps.channels, *(one.channel for one in sent)})
    states: Samples = {(name, state.value): 0.0 for name in names for state in DeliveryState}
    ages: Samples = {(name,): 0.0 for name in names}
    now = deps.clock.utc_now()
    for one in sent:
        states[one.channel, one.state.value] += one.n
        if one.state is DeliveryState.PENDING:
            age = (now - one.oldest).total_seconds()
            ages[one.channel,] = max(ages[one.channel,], age)
    return [
        Figure(
            "trainshed_deliveries", "Webhook and notification deliveries kept, by state",
            ("channel", "state"), states,
        ),
        Figure(
            "trainshed_delivery_oldest_pending_seconds",
            "Age of the oldest delivery that has not arrived, 0 for none", ("channel",), ages,
        ),
    ]  # fmt: skip


def _failing(n: int) -> list[Figure]:
    words = "Schedules whose newest fire failed or could not make its job"
    return [Figure("trainshed_schedules_failing", words, (), {(): float(n)})]


def _offers(deps: Deps, uses: Sequence[Use]) -> list[Figure]:
    names = ("executor", "offer", "pool")
    capacity = {k: Figure(f"trainshed_offer_{k}", f"{v} for hire", names) for k, v in KINDS.items()}
    taken = {
        k: Figure(f"trainshed_offer_{k}_used", f"{v} leased to Attempts", names)
        for k, v in KINDS.items()
    }
    for offer in offers_of(deps):
        key = (offer.executor, offer.id, offer.pool)
        mine = [u for u in uses if u.offer_id == offer.id]
        capacity["cpus"].samples[key] = offer.millicpus / 1000
        capacity["memory_bytes"].samples[key] = float(offer.memory_bytes)
        capacity["gpus"].samples[key] = float(len(offer.devices))
        taken["cpus"].samples[key] = sum(u.millicpus for u in mine) / 1000
        taken["memory_bytes"].samples[key] = float(sum(u.memory_bytes for u in mine))
        taken["gpus"].samples[key] = float(sum(len(u.devices) for u in mine))
    return [*capacity.values(), *taken.values()]
