"""A hold is covered by what is available, or it is not opened."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import InvalidInput, PaymentRequired
from trainshed.domain.ledger import INT64_MAX, Balance, HoldState, Unit, open_hold

NOW = datetime(2026, 1, 1, tzinfo=UTC)
money = st.integers(0, INT64_MAX)


@given(st.integers(-(10**9), 10**15), st.integers(0, 10**15), money)
def test_a_hold_never_takes_more_than_is_available(balance: int, held: int, amount: int) -> None:
    funds = Balance(Unit.CREDIT, balance, held)
    if amount <= balance - held:
        hold = open_hold("h", "a", "j", amount, funds, NOW)
        assert (hold.amount, hold.state, hold.captured) == (amount, HoldState.OPEN, 0)
        assert Balance(Unit.CREDIT, balance, held + hold.amount).available >= 0
    else:
        with pytest.raises(PaymentRequired) as caught:
            open_hold("h", "a", "j", amount, funds, NOW)
        assert caught.value.extra["needed_ucredits"] == amount
        assert caught.value.extra["available_ucredits"] == balance - held


@given(st.integers(max_value=-1))
def test_a_negative_hold_would_make_money(amount: int) -> None:
    with pytest.raises(InvalidInput):
        open_hold("h", "a", "j", amount, Balance(Unit.CREDIT, 10, 0), NOW)


def test_it_counts_in_the_unit_of_the_funds() -> None:
    hold = open_hold("h", "a", "j", 1, Balance(Unit.BOARD_RUN, 1, 0), NOW)
    assert hold.unit is Unit.BOARD_RUN
