"""Whose turn it is: least use per weight first, ageing bounded, the same answer for any order."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.fairshare import (
    ADVANCE_S,
    AGEING_S,
    GPU_CORES,
    HALF_LIFE_S,
    cores,
    decayed,
    order,
    share,
    turns,
)
from trainshed.domain.placement import Candidate
from trainshed.domain.resources import Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)
accounts = st.sampled_from("abcd")
amounts = st.dictionaries(accounts, st.floats(0, 1e9))
weights = st.dictionaries(accounts, st.floats(0, 100))


def waiting(name: str, account: str, priority: int = 0, waited_s: float = 0) -> Candidate:
    made = NOW - timedelta(seconds=waited_s)
    return Candidate(name, account, Resources(), "local-cpu", priority, made, 60)


def test_half_is_forgotten_each_half_life() -> None:
    assert decayed(8, HALF_LIFE_S) == 4
    assert decayed(8, 3 * HALF_LIFE_S) == 1
    assert decayed(8, 0) == decayed(8, -5) == 8
    assert cores(Resources(500, gpus=2)) == 0.5 + 2 * GPU_CORES


@given(amounts, amounts, weights)
def test_order_is_by_standing_and_complete(
    used: dict[str, float], live: dict[str, float], weight: dict[str, float]
) -> None:
    got = order(used, live, weight)
    assert sorted(got) == sorted(used.keys() | live.keys())
    standings = [
        share(used.get(a, 0.0), live.get(a, 0.0), weight.get(a, 1.0)) for a in got
    ]  # fmt: skip
    assert standings == sorted(standings)
    backwards = {k: used[k] for k in reversed(used)}
    assert order(backwards, live, weight) == got


def test_weights_and_live_use_count() -> None:
    assert order({"a": 100.0, "b": 150.0}, {}, {"b": 2.0}) == ["b", "a"]
    assert order({"a": 0.0, "b": ADVANCE_S - 1}, {"a": 1.0}, {}) == ["b", "a"]
    assert order({"a": 1.0, "b": 0.0}, {}, {"b": 0.0}) == ["b", "a"]
    assert order({"b": 0.0, "a": 0.0}, {}, {}) == ["a", "b"]


def names(jobs: list[Candidate], usage: dict[str, float] | None = None) -> list[str]:
    """The turns when everything gets placed."""
    placed: list[str] = []
    for one, _ in turns(jobs, usage or {}, {}, NOW, placed):
        placed.append(one.job_id)
    return placed


def test_accounts_alternate_however_many_jobs_each_has() -> None:
    many = [waiting(f"a{i:04}", "a", waited_s=9000 - i) for i in range(1000)]
    got = names([*many, waiting("b0", "b"), waiting("b1", "b")])
    assert got[:5] == ["a0000", "b0", "a0001", "b1", "a0002"]
    assert names([*many, waiting("b0", "b")], {"a": 10.0})[0] == "b0"


def test_weights_set_the_ratio() -> None:
    jobs = [waiting(f"{a}{i:03}", a) for a in "ab" for i in range(100)]
    placed: list[str] = []
    for one, _ in turns(jobs, {}, {"a": 3.0}, NOW, placed):
        placed.append(one.job_id)
    first = Counter(name[0] for name in placed[:40])
    assert first["a"] == pytest.approx(30, abs=1)


def test_priority_comes_before_share_and_age_before_id() -> None:
    jobs = [waiting("z", "a", 5), waiting("y", "b"), waiting("x", "a", 0, 1)]
    assert names(jobs, {"a": 1e9}) == ["z", "y", "x"]
    assert names([waiting("2", "a"), waiting("1", "a"), waiting("3", "a", 0, 5)]) == ["3", "1", "2"]


def test_the_oldest_of_an_account_is_lifted_to_the_top_and_no_further() -> None:
    fresh = [waiting(f"h{i}", "a", 100) for i in range(3)]
    low = [waiting("old", "b", 0, 100 * AGEING_S), waiting("old2", "b", 0, 100 * AGEING_S - 1)]
    levels = {c.job_id: level for c, level in turns([*fresh, *low], {}, {}, NOW, ())}
    assert levels == {"h0": 100, "h1": 100, "h2": 100, "old": 100, "old2": 0}
    assert names([*fresh, *low])[1] == "old"
    ancient = [waiting("old", "b", 0, 1e9), waiting("h", "a", 3)]
    assert dict((c.job_id, lv) for c, lv in turns(ancient, {}, {}, NOW, ()))["old"] == 3


def test_ageing_does_not_turn_a_queue_against_another_accounts_first_job() -> None:
    stuck = waiting("stuck", "c", 1000)
    queue = [waiting(f"a{i}", "a", 0, 90_000 + i) for i in range(500)]
    assert names([stuck, *queue, waiting("b", "b")]).index("b") <= 3


jobs_of = st.lists(
    st.tuples(accounts, st.integers(-3, 3), st.integers(-50, 500), st.booleans()), max_size=25
)


@given(jobs_of, amounts, weights, st.randoms(use_true_random=False))
def test_everyone_gets_one_turn_and_listing_order_does_not_matter(
    rows: list[tuple[str, int, int, bool]],
    used: dict[str, float],
    weight: dict[str, float],
    random: object,
) -> None:
    jobs = [waiting(f"j{i:02}", a, p, w) for i, (a, p, w, _) in enumerate(rows)]
    fits = {f"j{i:02}" for i, row in enumerate(rows) if row[3]}

    def run(given: list[Candidate]) -> list[tuple[str, int]]:
        placed: list[str] = []
        out = []
        for one, level in turns(given, used, weight, NOW, placed):
            out.append((one.job_id, level))
            if one.job_id in fits:
                placed.append(one.job_id)
        return out

    first = run(jobs)
    assert sorted(name for name, _ in first) == sorted(j.job_id for j in jobs)
    assert [level for _, level in first] == sorted((lv for _, lv in first), reverse=True)
    assert run(jobs) == first
    random.shuffle(jobs)  # type: ignore[attr-defined]
    assert run(jobs) == first
