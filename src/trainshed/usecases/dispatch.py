"""One scheduling round: snapshot → ``domain.placement.place`` → leases → launch outside (law 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from trainshed.domain.attempt import STOPS, Attempt, Ending
from trainshed.domain.errors import Conflict, TrainshedError
from trainshed.domain.events import Event
from trainshed.domain.job import Job, derived
from trainshed.domain.placement import Placement, place
from trainshed.domain.preemption import Running, victims
from trainshed.domain.states import AttemptState, Intent
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.executor import Launch
from trainshed.ports.store import Tx
from trainshed.usecases import attempts, office, orders
from trainshed.usecases.capacity import Snapshot, offers_of, snapshot
from trainshed.usecases.engine import Engine, job_token, runner_token

#: Order -> why, as the end of the Attempt will say it.
REASONS = {"preempt": "preempted", "drain": "drained"}

register("dispatch.after_lease", "dispatch.after_launch")


def lease(engine: Engine) -> list[Attempt]:
    """Place what fits now and write the leases; return them for ``launch``. Whoever must make
    room, for them or for an operator's drain, is asked to leave. Nothing happens where another
    server is the dispatcher.
    """
    deps = engine.deps
    term = office.lead(engine)
    if not term:
        return []
    now = deps.clock.utc_now()
    offers = offers_of(deps)
    seen = deps.store.read(snapshot(deps, offers, now, engine.turn))
    orders_due = _drains(seen)
    leased: list[Attempt] = []
    if seen.candidates:
        able = victims(seen.running, now, deps.policy.preempt_min_run_s, deps.policy.preemption)
        decided = place(
            seen.candidates, offers, seen.uses, engine.pools, seen.usage, seen.weights, now,
            deps.policy.cpu_fallback, seen.drained, able,
            seen.bench_room,
        )  # fmt: skip
        orders_due += [(v.job_id, v.attempt_id, "preempt") for v in decided.evictions]
        placements = decided.placements
        if deps.policy.max_workers is not None:
            placements = placements[: max(0, deps.policy.max_workers - len(seen.running))]
        leased = _take(engine, term, placements, seen.running, now)
    if orders_due:
        _evict(engine, term, orders_due, now)
    return leased


def _drains(seen: Snapshot) -> list[tuple[str, str, str]]:
    """Return who must leave an offer that is drained: (job id, attempt id, order)."""
    return [
        (r.attempt.job_id, r.attempt.id, "drain")
        for r in seen.running
        if r.attempt.offer_id in seen.drained and not r.leaving
    ]


def _evict(engine: Engine, term: int, due: Sequence[tuple[str, str, str]], now: datetime) -> None:
    """Order the Attempts to save and stop; whoever ended or stops already is left alone."""

    def apply(tx: Tx) -> list[str]:
        if not office.still(tx, engine, term):
            return []
        told = []
        for job_id, attempt_id, order in sorted(set(due)):
            job = tx.jobs.get(job_id)
            live = tx.attempts.live_of(job_id)
            if live is None or live.id != attempt_id or live.order in STOPS:
                continue
            orders.leave(tx, live, order)
            data = {"attempt": live.number, "reason": REASONS[order]}
            tx.events.append(Event("job.evicting", job.account_id, now, job_id, attempt_id, data))
            told.append(attempt_id)
        return told

    for attempt_id in engine.deps.store.write(apply):
        engine.deps.bus.notify(f"orders:{attempt_id}")
    engine.deps.bus.notify("events")


def _take(
    engine: Engine,
    term: int,
    placements: Sequence[Placement],
    running: Sequence[Running],
    now: datetime,
) -> list[Attempt]:
    """Write the leases of what was placed; return those that nothing came between."""
    if not placements:
        return []
    deps = engine.deps
    slots = _free_slots({r.attempt.slot for r in running}, len(placements))
    drafts = [_draft(engine, p, slot, now) for p, slot in zip(placements, slots, strict=True)]

    def apply(tx: Tx) -> list[Attempt]:
        if not office.still(tx, engine, term):
            return []
        made = (_apply(tx, p, draft, now) for p, draft in zip(placements, drafts, strict=True))
        return [one for one in made if one is not None]

    leased = deps.store.write(apply)
    if leased:
        crashpoint("dispatch.after_lease")
    mono = deps.clock.monotonic()
    for one in leased:
        engine.leases.grant(one, mono, now)
    deps.bus.notify("events")
    return leased


def launch(engine: Engine, attempt: Attempt) -> None:
    """Start the runner of a fresh lease; a launch that fails is a LOST Attempt at once."""
    deps = engine.deps
    order = Launch(attempt.id, runner_token(deps, attempt.id), deps.runner_url)
    try:
        handle = deps.executors[attempt.executor].launch(order)
    except TrainshedError as error:
        ending = Ending("lost", message=f"The runner could not be started: {error.detail}")
        attempts.finish(engine, attempt.id, ending)
        return
    crashpoint("dispatch.after_launch")
    engine.leases.launched(attempt.id, handle)


def remember_handles(engine: Engine, fresh: Mapping[str, Mapping[str, object]]) -> None:
    """Write handles to the rows, so that a restarted server finds the runners."""

    def apply(tx: Tx) -> None:
        for attempt_id, handle in fresh.items():
            held = tx.attempts.get(attempt_id)
            if held.live and not held.handle:
                tx.attempts.save_if_held(replace(held, handle=dict(handle)))

    engine.deps.store.write(apply)


def _draft(engine: Engine, placement: Placement, slot: int, now: datetime) -> Attempt:
    deps = engine.deps
    attempt_id = deps.ids.new("attempt")
    return Attempt(
        id=attempt_id,
        job_id=placement.job_id,
        account_id="",
        number=0,
        token=0,
        offer_id=placement.offer_id,
        executor=placement.executor,
        pool=placement.pool,
        millicpus=placement.millicpus,
        memory_bytes=placement.memory_bytes,
        devices=placement.devices,
        leased_at=now,
        renewed_at=now,
        slot=slot,
        runner_token_hash=deps.secrets.digest(runner_token(deps, attempt_id)),
        job_token_hash=deps.secrets.digest(job_token(deps, attempt_id)),
    )


def _apply(tx: Tx, placement: Placement, draft: Attempt, now: datetime) -> Attempt | None:
    job = tx.jobs.get(placement.job_id)
    due = job.not_before is None or job.not_before <= now
    if job.terminal or job.intent is not Intent.RUN or not due:
        return None
    number = job.n_attempts + 1
    pool = placement.pool if placement.fallback else job.pool
    attempt = replace(draft, account_id=job.account_id, number=number, token=number, pool=pool)
    try:
        tx.attempts.insert(attempt)
    except Conflict:
        return None
    _save(tx, job, number)
    data = {"attempt": number, "pool": pool, "fallback": placement.fallback}
    tx.events.append(Event("job.starting", job.account_id, now, job.id, attempt.id, data))
    return attempt


def _save(tx: Tx, job: Job, number: int) -> None:
    placed = replace(job, n_attempts=number, not_before=None)
    tx.jobs.save(derived(placed, AttemptState.LEASED))


def _free_slots(taken: set[int], n: int) -> Sequence[int]:
    out: list[int] = []
    slot = 0
    while len(out) < n:
        if slot not in taken:
            out.append(slot)
        slot += 1
    return out
