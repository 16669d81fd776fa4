"""A hold ends once: captured at most whole, the legs sum to zero, nobody is overdrawn."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import Conflict, InvalidInput, PaymentRequired
from trainshed.domain.ledger import (
    GRANTS,
    INT64_MAX,
    REVENUE,
    Balance,
    Hold,
    HoldState,
    Unit,
    open_hold,
    settle,
    transfer,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hold(amount: int) -> Hold:
    return Hold("h", "acc", "job", Unit.CREDIT, amount, HoldState.OPEN, NOW)


@given(st.integers(0, INT64_MAX), st.integers(-(10**6), 2 * INT64_MAX))
def test_captured_is_at_most_held_and_the_legs_balance(amount: int, cost: int) -> None:
    done, legs = settle(hold(amount), cost, "x", NOW, "att")
    assert done.captured == min(max(cost, 0), amount)
    assert done.amount == amount
    assert done.ended_at == NOW
    assert sum(leg.amount for leg in legs) == 0
    assert (done.state is HoldState.CAPTURED) == (done.captured > 0) == (len(legs) == 2)
    if legs:
        moved = {leg.book: leg.amount for leg in legs}
        assert moved == {"acc": -done.captured, REVENUE: done.captured}
        assert {leg.kind for leg in legs} == {"capture"}
        assert {(leg.job_id, leg.attempt_id, leg.txn_id) for leg in legs} == {("job", "att", "x")}
    with pytest.raises(Conflict):
        settle(done, cost, "y", NOW, None)


@given(st.integers(-INT64_MAX, 2 * INT64_MAX))
def test_a_transfer_is_positive_and_balanced(amount: int) -> None:
    if not 0 < amount <= INT64_MAX:
        with pytest.raises(InvalidInput):
            transfer("x", GRANTS, "a", amount, Unit.CREDIT, "grant", NOW)
    else:
        out, into = transfer("x", GRANTS, "a", amount, Unit.CREDIT, "grant", NOW)
        assert (out.book, out.amount, into.book, into.amount) == (GRANTS, -amount, "a", amount)


@given(
    st.integers(0, 10**7),
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 2 * 10**7)), max_size=12),
)
def test_no_sequence_of_holds_overdraws(start: int, steps: list[tuple[int, int]]) -> None:
    balance, held, waiting = start, 0, []
    for n, (amount, cost) in enumerate(steps):
        try:
            waiting.append((open_hold(str(n), "a", "j", amount, _funds(balance, held), NOW), cost))
            held += amount
        except PaymentRequired:
            continue
        if n % 2:
            one, due = waiting.pop(0)
            done, legs = settle(one, due, "x", NOW, None)
            balance += sum(leg.amount for leg in legs if leg.book == "a")
            held -= done.amount
        assert 0 <= held <= balance


def _funds(balance: int, held: int) -> Balance:
    return Balance(Unit.CREDIT, balance, held)
