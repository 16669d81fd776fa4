"""Double-entry money: immutable Entries that balance per transaction, and Holds (D9).

Amounts are int64 micro-credits of one ``unit``. A wallet belongs to an account; its counterparts
are the platform's own books. ``available = balance − held`` is never allowed below zero by a hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from trainshed.domain.errors import Conflict, InvalidInput, PaymentRequired

INT64_MAX = 2**63 - 1
#: Micro-credits of one credit.
MICRO = 1_000_000
GRANTS = "platform:grants"
REVENUE = "platform:revenue"


class Unit(StrEnum):
    """What is counted."""

    CREDIT = "credit"
    BOARD_RUN = "board_run"


#: What is said where a reservation is not covered.
_SHORT = {
    Unit.CREDIT: (
        "This needs {needed:g} credits reserved, but {available:g} are available. Lower"
        " max_runtime_s or the resources, wait for running jobs to end, or ask the operator for"
        " credits."
    ),
    Unit.BOARD_RUN: (
        "There are no available runs: a board job takes {needed:g}, and {available:g} are left."
        " Wait for what runs to end or for the plan to renew, or ask the operator for more."
    ),
}


class HoldState(StrEnum):
    """A hold is captured or released exactly once."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Balance:
    """One account's money in one unit, all derived."""

    unit: Unit
    balance: int
    held: int

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.balance - self.held


@dataclass(frozen=True, slots=True)
class Entry:
    """One leg of a movement. ``book`` is an account id or a platform book; Σ amount per txn is
    0.
    """

    txn_id: str
    book: str
    amount: int
    unit: Unit
    kind: str
    created_at: datetime
    job_id: str | None = None
    attempt_id: str | None = None
    memo: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation against an account for one Job."""

    id: str
    account_id: str
    job_id: str
    unit: Unit
    amount: int
    state: HoldState
    created_at: datetime
    captured: int = 0
    ended_at: datetime | None = None


def transfer(
    txn_id: str,
    source: str,
    target: str,
    amount: int,
    unit: Unit,
    kind: str,
    now: datetime,
    job_id: str | None = None,
    attempt_id: str | None = None,
    memo: str = "",
) -> tuple[Entry, Entry]:
    """Return the two legs that move ``amount`` (> 0) from ``source`` to ``target``.

    Raises:
        InvalidInput: the amount is not positive or does not fit 64 bits.
    """
    if not 0 < amount <= INT64_MAX:
        raise InvalidInput("An amount must be a positive 64-bit integer of micro-credits.")
    out = Entry(txn_id, source, -amount, unit, kind, now, job_id, attempt_id, memo)
    into = Entry(txn_id, target, amount, unit, kind, now, job_id, attempt_id, memo)
    return out, into


def open_hold(
    hold_id: str,
    account_id: str,
    job_id: str,
    amount: int,
    funds: Balance,
    now: datetime,
) -> Hold:
    """Return a new open hold if the account can cover it.

    Raises:
        PaymentRequired: ``available`` is less than ``amount``.
        InvalidInput: ``amount`` is negative: such a hold would add to what is available.
    """
    if amount < 0:
        raise InvalidInput("A hold must not be negative.")
    if amount > funds.available:
        raise PaymentRequired(
            _SHORT[funds.unit].format(needed=amount / MICRO, available=funds.available / MICRO),
            needed_ucredits=amount,
            available_ucredits=funds.available,
            unit=funds.unit.value,
        )
    return Hold(hold_id, account_id, job_id, funds.unit, amount, HoldState.OPEN, now)


def crossings(before: int, after: int, low: int) -> tuple[str, ...]:
    """Return the event kinds of what is available going down from ``before`` to ``after``.

    Each is told when its mark is crossed, and again only after credits came back above it.
    """
    marks = (("credits.low", low), ("credits.depleted", MICRO))
    return tuple(kind for kind, mark in marks if after < mark <= before)


def settle(
    hold: Hold, cost: int, txn_id: str, now: datetime, attempt_id: str | None
) -> tuple[Hold, tuple[Entry, ...]]:
    """End ``hold``: capture ``cost`` (at most its amount) and release the rest.

    A cost of 0 releases it whole, with no entries. Money that was held always suffices, so this
    cannot fail for want of credits.

    Raises:
        Conflict: the hold has ended before.
    """
    if hold.state is not HoldState.OPEN:
        raise Conflict("This hold has already been captured or released.")
    taken = min(max(cost, 0), hold.amount)
    state = HoldState.CAPTURED if taken else HoldState.RELEASED
    ended = Hold(
        hold.id, hold.account_id, hold.job_id, hold.unit, hold.amount, state,
        hold.created_at, taken, now,
    )  # fmt: skip
    if not taken:
        return ended, ()
    legs = transfer(
        txn_id, hold.account_id, REVENUE, taken, hold.unit, "capture", now, hold.job_id, attempt_id
    )
    return ended, legs
