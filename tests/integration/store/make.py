"""Short makers of valid rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trainshed.domain import ledger
from trainshed.domain.attempt import Attempt
from trainshed.domain.events import Event
from trainshed.domain.job import Job, JobSpec, conclude, derived
from trainshed.domain.ledger import GRANTS, Hold, Unit, transfer
from trainshed.domain.people import Account
from trainshed.domain.states import AttemptState, JobState, Reason
from trainshed.ports.store import Store, Tx

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACC = "acc_" + "1" * 32


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def account(store: Store, ucredits: int = 10**12, name: str = "one", id_: str = ACC) -> str:
    def apply(tx: Tx) -> None:
        tx.people.insert_account(Account(id_, name, NOW))
        if ucredits:
            legs = transfer(
                f"txn_{id_}", GRANTS, id_, ucredits, Unit.CREDIT, "grant", NOW, memo="hi"
            )
            tx.ledger.post(legs)

    store.write(apply)
    return id_


def job(n: int = 1, account_id: str = ACC, spec: JobSpec | None = None, **changes: Any) -> Job:
    made = Job(
        f"job_{n:032x}", account_id, None, "native", f"job {n}",
        spec or JobSpec(command=("true",)), "local-cpu", at(n),
    )  # fmt: skip
    return replace(made, **changes)


def submit(tx: Tx, one: Job, amount: int = 1000) -> Hold:
    """What ``usecases.submit`` writes."""
    tx.jobs.insert(one, None)
    tx.ledger.lock(one.account_id)
    funds = tx.ledger.balance(one.account_id, Unit.CREDIT)
    hold = ledger.open_hold(
        "hld" + one.id[3:], one.account_id, one.id, amount, funds, one.created_at
    )
    tx.ledger.insert_hold(hold)
    tx.events.append(Event("credits.held", one.account_id, one.created_at, one.id))
    tx.events.append(Event("job.queued", one.account_id, one.created_at, one.id))
    return hold


def add(store: Store, *jobs: Job) -> list[Job]:
    store.write(lambda tx: [submit(tx, one) for one in jobs] and None)
    return list(jobs)


def attempt(one: Job, number: int = 1, **changes: Any) -> Attempt:
    made = Attempt(
        f"att_{number:02x}{one.id[6:]}", one.id, one.account_id, number, number, "offer", "process",
        "local-cpu", 1000, 2**30, at(100), renewed_at=at(100),
    )  # fmt: skip
    return replace(made, **changes)


def lease(store: Store, one: Job, number: int = 1) -> Attempt:
    made = attempt(one, number)

    def apply(tx: Tx) -> None:
        tx.attempts.insert(made)
        found = tx.jobs.get(one.id)
        tx.jobs.save(derived(replace(found, n_attempts=number), AttemptState.LEASED))

    store.write(apply)
    return made


def end(store: Store, held: Attempt, cost: int = 10) -> None:
    """End the Attempt and its Job well, with the money."""

    def apply(tx: Tx) -> None:
        done = replace(
            held, state=AttemptState.SUCCEEDED, reason=Reason.COMPLETED, ended_at=at(200)
        )
        assert tx.attempts.save_if_held(done)
        hold = tx.ledger.open_hold(held.job_id)
        assert hold is not None
        ended, legs = ledger.settle(hold, cost, f"txn_{held.id}", at(200), held.id)
        if legs:
            tx.ledger.post(legs)
        tx.ledger.end_hold(ended)
        one = tx.jobs.get(held.job_id)
        tx.jobs.save(conclude(one, JobState.SUCCEEDED, Reason.COMPLETED, "", at(200)))

    store.write(apply)
