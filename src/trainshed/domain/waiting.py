"""Why a Job waits, the smallest change that would start it, and what could never start at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from trainshed.domain.errors import ImpossibleRequest
from trainshed.domain.placement import Candidate, falls_back, missing
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

#: Every wait reason with what it means; the documentation is generated from this table.
WAIT_CODES = {
    "ready": "fits now; placed in the next round",
    "starting": "placed; its process is being started",
    "backoff": "waits after a failure; the detail says until when",
    "no_capacity": "does not fit beside what runs now; says what is short and what would fit",
    "behind_others": "fits, but others come first",
    "bench": "fits, but as many as the board's benches can take in turn run already",
    "reserved": "fits, but the room is kept for a larger job that has waited longer",
    "paused": "paused by request",
    "no_executor": "nothing that could run it is connected",
    "no_machine": "its GPU type has a price, but no machine with it is connected",
    "drained": "every machine that fits is being drained by the operator",
}

_WORDS = {"cpus": "CPUs", "memory": "memory", "gpus": "GPUs", "gpu_type": "GPU type"}


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a Job still waits: ``code`` of WAIT_CODES, and in ``fix`` the smallest change that would
    start it ("" where there is none).
    """

    code: str
    detail: str
    fix: str


def explain(
    candidate: Candidate,
    offers: Sequence[Offer],
    uses: Sequence[Use],
    n_ahead: int,
    cpu_fallback: bool,
    reserved: bool = False,
    drained: Collection[str] = (),
    bench_taken: bool = False,
) -> WaitReason:
    """Return why a placeable Job still waits. ``reserved``: the caller knows that a round passed
    it over although it would have fitted. ``drained``: ids of offers that take nothing new.
    ``bench_taken``: it measures, and the board has no room for one more.
    """
    if not offers:
        return WaitReason(
            "no_executor", "No machine is connected.", "Wait for one, or ask the operator."
        )
    want, fallback = candidate.resources, falls_back(offers, cpu_fallback)
    idle = [free_of(o, []) for o in offers]
    could = [f.offer for f in idle if shortfall(want, f, fallback) is None]
    if not could and _unmatched(want, offers, fallback):
        return _no_machine(want, offers)
    if not could:
        near = min(idle, key=lambda f: (_misfit(want, f, fallback), f.offer.id))
        return _short(want, near, fallback, "even when idle", "")
    able = [o for o in could if o.id not in drained]
    if not able:
        names = ", ".join(sorted(o.id for o in could))
        return WaitReason(
            "drained", f"The operator is draining what fits: {names}.",
            "Wait until the operator ends the drain.",
        )  # fmt: skip
    frees = [free_of(o, list(uses)) for o in able]
    queue = "1 job comes first." if n_ahead == 1 else f"{n_ahead} jobs come first."
    if all(shortfall(want, f, fallback) is not None for f in frees):
        near = min(frees, key=lambda f: (missing(want, f), f.offer.id))
        return _short(want, near, fallback, "free now", f" {queue}" if n_ahead > 0 else "")
    if bench_taken:
        return WaitReason(
            "bench", f"Jobs that measure on {candidate.bench} run in turn, as benches are free.",
            "Wait, attach another bench, or ask for no bench.",
        )  # fmt: skip
    if reserved:
        return WaitReason(
            "reserved", "The room is kept for a larger job that has waited longer.",
            "Wait, or raise its priority.",
        )  # fmt: skip
    if n_ahead > 0:
        return WaitReason("behind_others", queue, "Wait, or raise its priority.")
    return WaitReason("ready", "It fits; it is placed in the next round.", "")


def _unmatched(want: Resources, offers: Sequence[Offer], fallback: bool) -> bool:
    """Whether it needs a GPU of a kind that no machine has."""
    there = {o.gpu_type for o in offers if o.devices}
    has = want.gpu_type in there if want.gpu_type else bool(there)
    return want.gpus > 0 and not fallback and not has


def _no_machine(want: Resources, offers: Sequence[Offer]) -> WaitReason:
    what = f"{want.gpus} × {want.gpu_type or 'GPU'}"
    there = sorted({o.gpu_type for o in offers if o.gpu_type and o.devices})
    other = f", or ask for GPU type {' or '.join(there)}" if there else ", or ask for no GPU"
    return WaitReason(
        "no_machine", f"No machine with {want.gpu_type or 'a GPU'} is connected.",
        f"Connect a machine with {what}{other}.",
    )  # fmt: skip


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
    known: such a Job is accepted and waits with ``no_executor``. One whose GPU type a pool prices
    but no machine has waits with ``no_machine``, if some machine has its CPUs and memory.

    Raises:
        ImpossibleRequest: ``extra['largest']`` is the nearest machine, idle: ``{cpus,
            memory_bytes, gpus, gpu_type, vram_bytes, pool, gpu_types}``, the last of all machines.
    """
    fallback = falls_back(offers, cpu_fallback)
    idle = [free_of(o, []) for o in offers]
    if not idle or any(shortfall(resources, f, fallback) is None for f in idle):
        return
    if _unmatched(resources, offers, fallback) and _priced(resources, pools):
        resources = replace(resources, gpus=0, gpu_type=None)
        if any(shortfall(resources, f) is None for f in idle):
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


def _priced(want: Resources, pools: Mapping[str, Pool]) -> bool:
    """Whether a pool has the GPU type."""
    return any(p.gpu_type and want.gpu_type in (None, p.gpu_type) for p in pools.values())


def _cpus(millicpus: int) -> str:
    return f"{max(millicpus, 0) / 1000:.3f}".rstrip("0").rstrip(".")


def _size(n_bytes: int) -> str:
    """Rounded down: what is named must fit when it is asked for."""
    n_bytes = max(n_bytes, 0)
    if n_bytes >= GIB:
        return f"{n_bytes * 100 // GIB / 100:g} GiB"
    return f"{n_bytes // 1024**2} MiB"
