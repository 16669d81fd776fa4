"""One scheduling round: snapshot → ``domain.placement.place`` → leases → launch outside (law 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt, Ending
from trainshed.domain.errors import Conflict, TrainshedError
from trainshed.domain.events import Event
from trainshed.domain.job import Job, derived
from trainshed.domain.placement import Candidate, Placement, place
from trainshed.domain.states import AttemptState, Intent
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.executor import Launch
from trainshed.ports.store import Tx
from trainshed.usecases import attempts
from trainshed.usecases.capacity import offers_of, use_of
from trainshed.usecases.engine import Engine, job_token, runner_token

#: How many Jobs of one account a round looks at: more could not all be placed in one round.
PER_ACCOUNT = 64
USAGE_WINDOW = timedelta(hours=24)

register("dispatch.after_lease", "dispatch.after_launch")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a round decides upon."""

    candidates: list[Candidate]
    live: list[Attempt]
    usage: Mapping[str, float]
    weights: Mapping[str, float]


def snapshot(engine: Engine, now: datetime) -> Snapshot:
    """Read what a round needs; an empty candidate list means there is nothing to do."""

    def load(tx: Tx) -> Snapshot:
        candidates = tx.jobs.candidates(now, PER_ACCOUNT)
        if not candidates:
            return Snapshot([], [], {}, {})
        several = len({c.account_id for c in candidates}) > 1
        usage = tx.attempts.usage(now - USAGE_WINDOW) if several else {}
        weights = {a.id: a.weight for a in tx.people.accounts()} if several else {}
        return Snapshot(candidates, tx.attempts.live(), usage, weights)

    return engine.deps.store.read(load)


def lease(engine: Engine) -> list[Attempt]:
    """Place what fits now and write the leases; return them for ``launch``."""
    deps = engine.deps
    now = deps.clock.utc_now()
    seen = snapshot(engine, now)
    if not seen.candidates:
        return []
    placements = place(
        seen.candidates, offers_of(deps), [use_of(a) for a in seen.live], engine.pools,
        seen.usage, seen.weights, now, deps.policy.cpu_fallback,
    )  # fmt: skip
    if deps.policy.max_workers is not None:
        placements = placements[: max(0, deps.policy.max_workers - len(seen.live))]
    if not placements:
        return []
    slots = _free_slots({a.slot for a in seen.live}, len(placements))
    drafts = [_draft(engine, p, slot, now) for p, slot in zip(placements, slots, strict=True)]

    def apply(tx: Tx) -> list[Attempt]:
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
