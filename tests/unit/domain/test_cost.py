"""Money for time: integers, monotone, rounded up once."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.pricing import CREDIT, MS_PER_HOUR, charge, cost, hold_amount, rate
from trainshed.domain.resources import Pool, Resources

pools = st.builds(
    Pool,
    name=st.just("p"),
    gpu_type=st.sampled_from([None, "H100"]),
    vram_bytes=st.just(0),
    price_ucredits=st.integers(0, 10**10),
    charge_increment=st.sampled_from([1, 7, 1000, CREDIT]),
    minimum_charge=st.sampled_from([0, 1, CREDIT]),
)
wants = st.builds(
    Resources,
    millicpus=st.integers(50, 1_024_000),
    gpus=st.integers(1, 64),
    gpu_type=st.just("H100"),
)
spans = st.integers(0, 30 * 24 * MS_PER_HOUR)


@given(pools, wants, spans, spans)
def test_monotone_and_additive_within_one_increment(
    pool: Pool, want: Resources, a: int, b: int
) -> None:
    one, two, both = cost(pool, want, a), cost(pool, want, b), cost(pool, want, a + b)
    assert max(one, two) <= both <= one + two
    assert one + two - both <= max(pool.charge_increment, pool.minimum_charge)


@given(pools, wants, spans)
def test_rounded_up_by_less_than_one_increment(pool: Pool, want: Resources, ms: int) -> None:
    units = Fraction(want.gpus) if pool.gpu_type else Fraction(want.millicpus, 1000)
    exact = pool.price_ucredits * units * Fraction(ms, MS_PER_HOUR)
    due = cost(pool, want, ms)
    assert due >= exact
    assert due < exact + pool.charge_increment or due == pool.minimum_charge
    if due != pool.minimum_charge:
        assert due % pool.charge_increment == 0


@given(pools, wants, st.integers(-(10**9), 0))
def test_no_time_no_charge(pool: Pool, want: Resources, ms: int) -> None:
    assert cost(pool, want, ms) == 0
    assert charge(pool, 0) == 0


@given(pools, wants, spans, st.lists(spans, max_size=4))
def test_a_hold_covers_what_is_left_and_never_grows(
    pool: Pool, want: Resources, limit: int, runs: list[int]
) -> None:
    so_far, last = 0, hold_amount(pool, want, limit, 0)
    for ran in runs:
        ran = min(ran, limit - so_far)
        more = cost(pool, want, so_far + ran) - cost(pool, want, so_far)
        assert more <= last
        so_far += ran
        rest = hold_amount(pool, want, limit, so_far)
        assert rest <= last
        last = rest
    assert hold_amount(pool, want, limit, limit + 1) == 0


@given(pools, wants, st.lists(spans, min_size=1, max_size=5))
def test_several_attempts_are_rounded_once(pool: Pool, want: Resources, runs: list[int]) -> None:
    exact = sum(rate(pool, want) * ms for ms in runs)
    assert charge(pool, exact) == cost(pool, want, sum(runs))


def test_known_prices() -> None:
    cpu = Pool("local-cpu", None, 0, CREDIT)
    assert cost(cpu, Resources(4000), MS_PER_HOUR) == 4 * CREDIT
    assert cost(cpu, Resources(1000), 1000) == 278
    gpu = Pool("h100", "H100", 80 * 2**30, 200 * CREDIT, CREDIT, CREDIT)
    assert cost(gpu, Resources(32_000, 2**30, 2, "H100"), MS_PER_HOUR) == 400 * CREDIT
    assert cost(gpu, Resources(1000, 2**30, 1, "H100"), 1) == CREDIT
    assert cost(gpu, Resources(gpus=1), MS_PER_HOUR // 2) == 100 * CREDIT
