"""A receipt adds up: useful + lost = all running time, captured + released = held."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.attempt import Attempt
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.ledger import Hold, HoldState, Unit, transfer
from trainshed.domain.receipt import receipt_of, running_ms
from trainshed.domain.resources import GIB, Pool, Resources
from trainshed.domain.states import LIVE, AttemptState, Intent, JobState, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOLS = {
    "local-cpu": Pool("local-cpu", None, 0, 1_000_000, 1, 1_000_000),
    "h100": Pool("h100", "H100", 80 * GIB, 200_000_000),
}
WANT = Resources(2000, GIB, 1, "H100")
ENDED = JobState.SUCCEEDED
JOB = Job(
    "j", "acc", None, "native", "n", JobSpec(command=("x",), resources=WANT), "h100", NOW,
    state=ENDED, intent=Intent.RUN, outcome=ENDED, reason=Reason.COMPLETED,
    ended_at=NOW + timedelta(hours=2),
)  # fmt: skip


def attempt(
    n: int, state: AttemptState, ran_s: float, kept_s: float = 0, resumed: bool = False
) -> Attempt:
    begin = NOW + timedelta(minutes=n)
    end = begin + timedelta(seconds=ran_s)
    ran = round(ran_s * 1000)
    return Attempt(
        f"t{n}", "j", "acc", n, n, "o", "process", "h100", 2000, GIB, begin,
        state=state, started_at=begin, ended_at=end, renewed_at=end,
        runtime_ms=0 if state is AttemptState.LOST else ran,
        checkpoint_ms=round(kept_s * 1000), resumed_from="c" if resumed else None,
    )  # fmt: skip


S, F, E, L = AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.EVICTED, AttemptState.LOST


@pytest.mark.parametrize(
    ("tried", "useful", "lost"),
    [
        ([], 0, 0),
        ([attempt(1, S, 50)], 50, 0),
        ([attempt(1, L, 50), attempt(2, S, 60)], 60, 50),
        ([attempt(1, L, 50, 30), attempt(2, S, 60, resumed=True)], 90, 20),
        ([attempt(1, L, 50, 30), attempt(2, S, 60)], 60, 50),
        ([attempt(1, E, 50, 50), attempt(2, F, 9, 0, True), attempt(3, S, 1, 0, True)], 51, 9),
        ([attempt(1, E, 50, 50), attempt(2, F, 9, 5), attempt(3, S, 1, 0, True)], 6, 54),
        ([attempt(1, F, 50)], 0, 50),
        ([attempt(1, F, 50, 40)], 40, 10),
        ([attempt(1, AttemptState.CANCELLED, 50)], 50, 0),
        ([attempt(2, S, 60, resumed=True), attempt(1, L, 50, 30)], 90, 20),
    ],
)
def test_what_was_useful(tried: list[Attempt], useful: float, lost: float) -> None:
    got = receipt_of(JOB, tried, [], POOLS)
    assert (got.useful_s, got.lost_s, got.n_attempts) == (useful, lost, len(tried))


rows = st.lists(
    st.builds(
        attempt,
        n=st.integers(1, 50),
        state=st.sampled_from(sorted(set(AttemptState) - LIVE)),
        ran_s=st.floats(0, 1e5),
        kept_s=st.floats(0, 1e5),
        resumed=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda a: a.number,
)


@given(rows)
def test_useful_and_lost_are_all_running_time(tried: list[Attempt]) -> None:
    got = receipt_of(JOB, tried, [], POOLS)
    assert got.useful_s >= 0
    assert got.lost_s >= 0
    total = sum(running_ms(a) for a in tried) / 1000
    assert got.useful_s + got.lost_s == pytest.approx(total, abs=1e-6)
    for one in tried:
        assert one.ended_at is not None
        assert one.started_at is not None
        seen = (one.ended_at - one.started_at) / timedelta(milliseconds=1)
        assert 0 <= running_ms(one) <= seen + 1


def hold(n: int, amount: int, captured: int | None) -> Hold:
    state = HoldState.OPEN if captured is None else HoldState.CAPTURED
    at = NOW + timedelta(minutes=n)
    return Hold(f"h{n}", "acc", "j", Unit.CREDIT, amount, state, at, captured or 0)


@given(st.integers(0, 10**12), st.lists(st.floats(0, 1), max_size=5))
def test_captured_and_released_are_what_was_held(first: int, parts: list[float]) -> None:
    holds, rest = [], first
    for n, part in enumerate(parts):
        taken = int(rest * part)
        holds.append(hold(n, rest, taken))
        rest -= taken
    got = receipt_of(JOB, [], list(reversed(holds)), POOLS)
    assert got.held_ucredits == (first if parts else 0)
    assert got.captured_ucredits + got.released_ucredits == got.held_ucredits


def test_an_open_hold_is_not_released_yet() -> None:
    got = receipt_of(JOB, [], [hold(0, 100, 30), hold(1, 70, None)], POOLS)
    assert (got.held_ucredits, got.captured_ucredits, got.released_ucredits) == (100, 30, 0)


def test_fallback_shows_both_pools_and_the_price_that_applied() -> None:
    real = receipt_of(JOB, [attempt(1, S, 1)], [], POOLS)
    assert (real.pool, real.pool_used, real.fallback) == ("h100", "h100", False)
    assert real.price_ucredits_per_hour == 200_000_000
    on_cpu = receipt_of(JOB, [replace(attempt(1, S, 1), pool="local-cpu")], [], POOLS)
    assert (on_cpu.pool, on_cpu.pool_used, on_cpu.fallback) == ("h100", "local-cpu", True)
    assert on_cpu.price_ucredits_per_hour == 2_000_000
    assert receipt_of(JOB, [], [], {}).price_ucredits_per_hour == 0
    never = receipt_of(JOB, [], [], POOLS)
    assert (never.pool_used, never.price_ucredits_per_hour) == (None, 200_000_000)


def test_queued_until_the_first_start_or_the_end() -> None:
    assert receipt_of(JOB, [attempt(1, L, 1), attempt(9, S, 1)], [], POOLS).queued_s == 60
    never = replace(attempt(1, L, 1), started_at=None)
    got = receipt_of(JOB, [never], [], POOLS)
    assert (got.queued_s, got.started_at) == (7200, None)
    assert (got.useful_s, got.lost_s) == (0, 0)


def test_refunds_are_counted_for_this_job_and_account_only() -> None:
    mine = transfer("x", "platform:revenue", "acc", 5, Unit.CREDIT, "refund", NOW, "j")
    other = transfer("y", "platform:revenue", "acc", 7, Unit.CREDIT, "refund", NOW, "k")
    paid = transfer("z", "acc", "platform:revenue", 9, Unit.CREDIT, "capture", NOW, "j")
    assert receipt_of(JOB, [], [], POOLS, [*mine, *other, *paid]).refunded_ucredits == 5


def test_a_lost_attempt_counts_up_to_its_last_sign_of_life() -> None:
    one = replace(attempt(1, L, 600), renewed_at=NOW + timedelta(minutes=1, seconds=100))
    assert running_ms(one) == 100_000
