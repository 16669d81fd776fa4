"""The engine in figures, for whoever watches it: read from the store when asked, never counted on
the way (law 5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainshed.domain.attempt import Attempt
from trainshed.domain.resources import Use
from trainshed.domain.states import LIVE, JobState
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.capacity import offers_of, use_of

KINDS = {"cpus": "CPUs", "memory_bytes": "Memory", "gpus": "GPUs"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One named figure with its samples: values of ``labels`` -> value, in the unit it names."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    samples: dict[tuple[str, ...], float] = field(default_factory=dict)
    counts_up: bool = False


def engine_figures(deps: Deps) -> Sequence[Figure]:
    """Return what the engine does now, over all accounts; operators only."""

    def load(tx: Tx) -> tuple[dict[str, int], list[Attempt], int]:
        return tx.jobs.counts(None), tx.attempts.live(), tx.events.last_seq()

    jobs, live, last = deps.store.read(load)
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
    return [*out, *_offers(deps, uses)]


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
