"""The money side of a Job's life: hold at submit and resume, settle when an Attempt ends (D9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainshed.domain import ledger, pricing
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import ImpossibleRequest, PaymentRequired
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.ledger import Hold, HoldState, Unit
from trainshed.domain.resources import Pool, Resources
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx

LOCAL_CPU = "local-cpu"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a money transaction needs that must not be drawn inside it.

    ``low_ucredits``: the owner is told when fewer are left available.
    """

    now: datetime
    txn_id: str
    hold_id: str
    low_ucredits: int = 0


def new_stamp(deps: Deps, now: datetime) -> Stamp:
    """Draw what a transaction at ``now`` needs."""
    ids = [deps.ids.new(kind) for kind in ("transaction", "hold")]
    return Stamp(now, ids[0], ids[1], deps.policy.low_ucredits)


def asked_pool(pools: Sequence[Pool], resources: Resources, named: str | None = None) -> Pool:
    """Return the pool whose price applies: the one that the workload names, else by GPU type, the
    cheapest GPU pool, or ``local-cpu``.

    Raises:
        ImpossibleRequest: no pool has that GPU type; lists those there are.
    """
    if named is not None or resources.gpus == 0:
        return next(p for p in pools if p.name == (named or LOCAL_CPU))
    wanted = resources.gpu_type
    fitting = [p for p in pools if p.gpu_type is not None and wanted in (None, p.gpu_type)]
    if not fitting:
        types = sorted({p.gpu_type for p in pools if p.gpu_type})
        listed = ", ".join(types) or "no GPU pool at all"
        raise ImpossibleRequest(
            f"There is no pool with GPU type {wanted!r}; there is: {listed}.",
            field="resources.gpu_type",
            largest={"gpu_types": types},
        )
    return min(fitting, key=lambda p: (p.price_ucredits, p.name))


def known_type(pools: Sequence[Pool], resources: Resources) -> Resources:
    """Return ``resources`` with the GPU type as its pool spells it: A100 is a100."""
    wanted = (resources.gpu_type or "").casefold()
    spelled = [p.gpu_type for p in pools if p.gpu_type and p.gpu_type.casefold() == wanted]
    return replace(resources, gpu_type=spelled[0]) if spelled else resources


def spent(job: Job, attempts: Sequence[Attempt], pools: Mapping[str, Pool]) -> int:
    """Return what the Job's ended Attempts cost together, rounded once."""
    asked = pools.get(job.pool, pools[LOCAL_CPU])
    if asked.per_job:
        return asked.per_job if pricing.owed(attempts) else 0
    exact = 0
    for one in attempts:
        pool = pools.get(one.pool, pools[LOCAL_CPU])
        used = Resources(one.millicpus, one.memory_bytes, job.spec.resources.gpus)
        exact += pricing.rate(pool, used) * one.billable_ms
    return pricing.charge(asked, exact)


def remaining_ms(job: Job, attempts: Sequence[Attempt]) -> int:
    """Return how much run time the Job may still use."""
    return max(0, job.spec.max_runtime_s * 1000 - sum(a.billable_ms for a in attempts))


def reserve(tx: Tx, job: Job, attempts: Sequence[Attempt], pool: Pool, stamp: Stamp) -> Hold:
    """Open the Job's hold for its remaining run time.

    Raises:
        PaymentRequired: the balance or the key's spending limit does not cover it.
    """
    amount = pricing.cost(pool, job.spec.resources, remaining_ms(job, attempts))
    tx.ledger.lock(job.account_id)
    if attempts:
        amount = min(amount, _rest(tx, job, amount))
    if pool.unit is Unit.CREDIT:
        _check_key(tx, job, amount)
    funds = tx.ledger.balance(job.account_id, pool.unit)
    hold = ledger.open_hold(stamp.hold_id, job.account_id, job.id, amount, funds, stamp.now)
    tx.ledger.insert_hold(hold)
    _event(tx, "credits.held", hold, stamp.now, amount)
    left = funds.available - amount
    crossed = ledger.crossings(funds.available, left, stamp.low_ucredits)
    for kind in crossed if pool.unit is Unit.CREDIT else ():
        data = {"available_ucredits": left, "threshold_ucredits": stamp.low_ucredits}
        tx.events.append(Event(kind, job.account_id, stamp.now, job.id, None, data))
    return hold


def settle(
    tx: Tx, job: Job, attempts: Sequence[Attempt], pools: Mapping[str, Pool], stamp: Stamp
) -> None:
    """End the Job's open hold: charge what its Attempts cost beyond what was charged before."""
    hold = tx.ledger.open_hold(job.id)
    if hold is None:
        return
    tx.ledger.lock(job.account_id)
    before = tx.ledger.captured(job.id) if len(attempts) > 1 else 0
    due = spent(job, attempts, pools) - before
    newest = attempts[-1].id if attempts else None
    done, legs = ledger.settle(hold, due, stamp.txn_id, stamp.now, newest)
    if legs:
        tx.ledger.post(legs)
    tx.ledger.end_hold(done)
    kind = "credits.captured" if done.state is HoldState.CAPTURED else "credits.released"
    _event(tx, kind, done, stamp.now, done.captured)


def _rest(tx: Tx, job: Job, amount: int) -> int:
    """A later hold is never larger than what the first one has left uncaptured."""
    earlier = tx.ledger.holds_of(job.id)
    if not earlier:
        return amount
    return max(0, earlier[0].amount - sum(h.captured for h in earlier))


def _check_key(tx: Tx, job: Job, amount: int) -> None:
    if job.key_id is None:
        return
    limit = tx.people.get_key(job.key_id, job.account_id).spend_limit_ucredits
    if limit is None:
        return
    left = limit - tx.ledger.captured_by_key(job.key_id)
    if amount > left:
        raise PaymentRequired(
            f"This API key may still spend {max(left, 0) / 1e6:g} credits, but"
            f" {amount / 1e6:g} would be reserved. Raise its spending limit or ask for less.",
            needed_ucredits=amount,
            available_ucredits=max(left, 0),
        )


def _event(tx: Tx, kind: str, hold: Hold, now: datetime, amount: int) -> None:
    data = {"amount_ucredits": amount, "unit": hold.unit.value}
    tx.events.append(Event(kind, hold.account_id, now, hold.job_id, None, data))
