"""What accounts are given: credits by the operator, and the runs of their board plans.

Every gift is a visible entry. A plan's runs are given once a period: the entry and the account's
next renewal are written in one transaction, and nothing else says when.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from trainshed.domain.errors import InvalidInput
from trainshed.domain.events import Event
from trainshed.domain.ledger import GRANTS, INT64_MAX, Unit, transfer
from trainshed.domain.people import Account, Principal
from trainshed.domain.pricing import BoardPlan
from trainshed.ports.deps import Deps, Policy
from trainshed.ports.store import Tx
from trainshed.usecases import audit

#: How many renewals one look makes.
MANY = 100


def grant_in(
    tx: Tx,
    who: Principal | str,
    account_id: str,
    amount: int,
    unit: Unit,
    memo: str,
    txn: str,
    now: datetime,
) -> None:
    """Give credits or runs in the caller's transaction, as a visible entry."""
    tx.ledger.lock(account_id)
    if tx.ledger.balance(account_id, unit).balance + amount > INT64_MAX:
        raise InvalidInput("The balance would not fit 64 bits.", field="amount_ucredits")
    tx.ledger.post(transfer(txn, GRANTS, account_id, amount, unit, "grant", now, memo=memo))
    data = {"amount_ucredits": amount, "unit": unit.value}
    tx.events.append(Event("credits.granted", account_id, now, data=data))
    audit.line(tx, who, account_id, "credits.grant", account_id, now, **data)


def plan_named(policy: Policy, name: str) -> BoardPlan:
    """Return the plan of that name.

    Raises:
        InvalidInput: there is none; lists those there are.
    """
    found = [p for p in policy.board_plans if p.name == name]
    if not found:
        known = ", ".join(p.name for p in policy.board_plans)
        raise InvalidInput(f"There is no plan {name[:64]!r}; there is: {known}.", field="plan")
    return found[0]


def plan_of(policy: Policy, account: Account) -> BoardPlan:
    """Return the account's plan; the first one if it has none, or one that is there no more."""
    found = [p for p in policy.board_plans if p.name == account.plan]
    return (found or policy.board_plans)[0]


def begin_plan(tx: Tx, policy: Policy, account_id: str, txn: str, now: datetime) -> Account:
    """Give the account what it lacks of its plan's runs, and note when it is due again; for a new
    account, another plan, and a renewal.
    """
    tx.ledger.lock(account_id)
    account = tx.people.get_account(account_id)
    plan = plan_of(policy, account)
    lacking = plan.lacking(tx.ledger.balance(account_id, Unit.BOARD_RUN).available)
    if lacking:
        words = f"Plan {plan.name}"
        grant_in(tx, "plan", account_id, lacking, Unit.BOARD_RUN, words, txn, now)
    due = plan.renews_after(account.renews_at, now)
    renewed = replace(account, renews_at=due)
    tx.people.save_account(renewed)
    return renewed


def renew(deps: Deps) -> int:
    """Give the plans' runs to the accounts that are due; return how many were."""
    now = deps.clock.utc_now()
    due = deps.store.read(lambda tx: tx.people.due(now, MANY))
    for one in due:
        _renew(deps, one.id, now)
    if due:
        deps.bus.notify("events")
    return len(due)


def _renew(deps: Deps, account_id: str, now: datetime) -> None:
    txn = deps.ids.new("transaction")

    def apply(tx: Tx) -> None:
        tx.ledger.lock(account_id)
        fresh = tx.people.get_account(account_id)
        if fresh.renews_at is not None and fresh.renews_at <= now:
            begin_plan(tx, deps.policy, account_id, txn, now)

    deps.store.write(apply)
