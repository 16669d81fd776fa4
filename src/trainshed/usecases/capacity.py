"""What is for hire and what is taken, as placement sees it: always derived from live leases (law
5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.bench import measures_on
from trainshed.domain.job import Job
from trainshed.domain.placement import Candidate, fitting
from trainshed.domain.preemption import Running
from trainshed.domain.pricing import BOARDS
from trainshed.domain.resources import GIB, MIN_MILLICPUS, Offer, Resources, Use
from trainshed.domain.states import Intent
from trainshed.domain.waiting import WaitReason, explain
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx


def offers_of(deps: Deps) -> list[Offer]:
    """Return every offer of every executor."""
    return [offer for executor in deps.executors.values() for offer in executor.offers()]


#: How many of a lane a round looks at: where there is room, as many as could be placed; where
#: there is none now, as many as evictions could make room for.
PER_LANE, PER_FULL_LANE = 64, 8
#: How many lanes of an account a round looks at, from the best on; of further ones as many, others
#: each round.
LANES = 256
USAGE_WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a round decides upon."""

    candidates: list[Candidate]
    running: list[Running]
    uses: list[Use]
    drained: frozenset[str]
    usage: Mapping[str, float]
    weights: Mapping[str, float]
    bench_room: Mapping[str, int]


def snapshot(
    deps: Deps,
    offers: Sequence[Offer],
    now: datetime,
    turn: dict[str, str],
    deep: bool = False,
) -> Callable[[Tx], Snapshot]:
    """Return the reading of what a round needs. ``turn`` is the engine's, and moved on. ``deep``:
    look as far into lanes that have no room now.
    """

    def load(tx: Tx) -> Snapshot:
        running = tx.attempts.running()
        uses = [r.use(now) for r in running]
        drained = frozenset(tx.records.drained())
        fits = fitting(offers, uses, drained, deps.policy.cpu_fallback)
        able = (lambda _: True) if deep else fits
        accounts = tx.jobs.waiting()
        found = [c for a in accounts for c in _waiting(tx, a, now, able, turn)]
        several = len(accounts) > 1
        usage = tx.attempts.usage(now - USAGE_WINDOW) if several else {}
        weights = {a.id: a.weight for a in tx.people.accounts()} if several else {}
        found = _with_benches(tx, found)
        boards = {c.bench for c in found} - {""}
        room = bench_room(tx, boards, [r.attempt for r in running], now)
        return Snapshot(found, running, uses, drained, usage, weights, room)

    return load


def _with_benches(tx: Tx, found: list[Candidate]) -> list[Candidate]:
    """Return the candidates with the boards on which they measure."""
    jobs = tx.jobs.several([c.job_id for c in found if c.pool == BOARDS.name])
    boards = {job.id: measures_on(job) for job in jobs}
    return [replace(c, bench=boards[c.job_id]) if boards.get(c.job_id) else c for c in found]


def bench_room(
    tx: Tx, boards: Collection[str], live: Sequence[Attempt], now: datetime
) -> dict[str, int]:
    """Return how many more Jobs that measure may start, by board: in all one more than it has
    benches, so that the next is compiled when a bench is free. More would hold CPUs while they
    wait, and lose their run time by it.
    """
    if not boards:
        return {}
    held = tx.jobs.several([one.job_id for one in live if one.pool == BOARDS.name])
    running = Counter(measures_on(job) for job in held)
    here = Counter(bench.board for bench in tx.benches.all() if bench.here(now))
    return {board: here[board] + 1 - running[board] for board in boards}


def _waiting(
    tx: Tx, account_id: str, now: datetime, fits: Callable[[Resources], bool], turn: dict[str, str]
) -> Iterator[Candidate]:
    """Yield the heads of an account's lanes: whoever is not among them cannot matter now, since
    others of the same priority and size come first.
    """
    lanes = tx.jobs.lanes(account_id, "", LANES)
    if len(lanes) == LANES:
        after = max(turn.get(account_id, ""), lanes[-1])
        more = tx.jobs.lanes(account_id, after, LANES)
        turn[account_id] = more[-1] if len(more) == LANES else ""
        lanes += more
    for lane in lanes:
        head = tx.jobs.head(account_id, lane, now, PER_FULL_LANE)
        if len(head) == PER_FULL_LANE and fits(head[0].resources):
            head = tx.jobs.head(account_id, lane, now, PER_LANE)
        yield from head


def share_of(deps: Deps, gpu_type: str, gpus: int) -> Resources:
    """Return GPUs with the CPUs and memory that go with them: their part of the machine they are
    in; on a machine without GPUs one CPU, and at most half of its memory.
    """
    offers = offers_of(deps)
    own = [o for o in offers if o.gpu_type == gpu_type and len(o.devices) >= gpus]
    if own:
        best = max(own, key=lambda o: len(o.devices))
        n = len(best.devices)
        return Resources(
            max(best.millicpus * gpus // n, MIN_MILLICPUS), best.memory_bytes * gpus // n,
            gpus, gpu_type,
        )  # fmt: skip
    most = max((o.memory_bytes for o in offers), default=2 * GIB)
    cpus = max((o.millicpus for o in offers), default=1000)
    return Resources(min(1000, cpus), min(4 * GIB, most // 2), gpus, gpu_type)


def use_of(attempt: Attempt) -> Use:
    """Return what a live Attempt occupies."""
    return Use(attempt.offer_id, attempt.millicpus, attempt.memory_bytes, attempt.devices)


def candidate_of(job: Job) -> Candidate:
    """Return the Job as placement sees it."""
    return Candidate(
        job.id, job.account_id, job.spec.resources, job.pool,
        job.spec.priority, job.created_at, job.spec.max_runtime_s, job.not_before,
        measures_on(job),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crowd:
    """What Jobs may be waiting for: all leases, the offers that are drained, ``bench_room``."""

    live: Sequence[Attempt] = ()
    drained: Collection[str] = ()
    bench_room: Mapping[str, int] = field(default_factory=dict)


def crowd_of(tx: Tx, waiting: Sequence[Job], now: datetime) -> Crowd:
    """Return what ``wait_reason`` must know of these."""
    if not waiting:
        return Crowd()
    live, boards = tx.attempts.live(), {measures_on(job) for job in waiting} - {""}
    return Crowd(live, tx.records.drained(), bench_room(tx, boards, live, now))


def wait_reason(
    deps: Deps, job: Job, live: Attempt | None, crowd: Crowd, ahead: int
) -> WaitReason | None:
    """Return why the Job is not running, or None when it runs or has ended."""
    if job.terminal or job.intent is Intent.CANCEL:
        return None
    if live is not None:
        if live.started_at is not None:
            return None
        return WaitReason("starting", "Placed; its process is being started.", "")
    if job.intent is Intent.PAUSE:
        return WaitReason("paused", "Paused by request.", "Resume it.")
    if job.not_before is not None and job.not_before > deps.clock.utc_now():
        when = job.not_before.strftime("%Y-%m-%dT%H:%M:%SZ")
        return WaitReason("backoff", f"Runs again after {when}, following a failure.", "")
    most = deps.policy.max_workers
    if most is not None and len(crowd.live) >= most:
        words = f"The server runs {most} jobs at once, and all are taken."
        return WaitReason("no_capacity", words, "Wait, or let the operator raise max_workers.")
    return explained(deps, job, offers_of(deps), crowd, ahead)


def explained(
    deps: Deps, job: Job, offers: Sequence[Offer], crowd: Crowd, ahead: int
) -> WaitReason:
    """Return why a placeable Job waits, or would."""
    me = candidate_of(job)
    return explain(
        me, offers, [use_of(a) for a in crowd.live], ahead, deps.policy.cpu_fallback,
        drained=crowd.drained, bench_taken=crowd.bench_room.get(me.bench, 1) <= 0,
    )  # fmt: skip
