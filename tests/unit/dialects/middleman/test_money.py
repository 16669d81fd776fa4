"""Whole credits that always add up."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from trainshed.dialects.middleman import money
from trainshed.domain.ledger import MICRO, Balance, Entry, Unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS = st.integers(-(10**12), 10**12)


@given(st.integers(0, 10**14), st.integers(0, 10**14))
def test_the_balance_adds_up_and_never_overstates(balance: int, held: int) -> None:
    shown = money.to_balance(Balance(Unit.CREDIT, balance + held, held))
    assert shown.available == shown.balance - shown.reserved
    assert shown.available * MICRO <= balance
    assert shown.balance * MICRO <= balance + held


@given(st.lists(AMOUNTS, max_size=30))
def test_transactions_sum_to_the_balance(amounts: list[int]) -> None:
    after, total = 0, 0
    for seq, amount in enumerate(amounts):
        after += amount
        entry = Entry("txn", "acc", amount, Unit.CREDIT, "capture", NOW, "job_" + "1" * 32)
        shown = money.to_transaction((seq, after, entry))
        total += shown.amount
        assert shown.balance_after == total
        assert shown.description
    assert total == after // MICRO
