"""One scheduling round: nothing oversubscribed, nobody starved, the same input the same answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainshed.domain.errors import ImpossibleRequest
from trainshed.domain.placement import RESERVE_AFTER_S, Candidate, Placement, missing, place
from trainshed.domain.resources import GIB, Offer, Pool, Resources, Use, free_of, shortfall
from trainshed.domain.waiting import check_possible

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOLS = {
    "local-cpu": Pool("local-cpu", None, 0, 1_000_000),
    "h100": Pool("h100", "H100", 80 * GIB, 200_000_000),
    "a100": Pool("a100", "A100", 40 * GIB, 100_000_000),
}
CPU = Offer("cpu", "process", "local-cpu", 8000, 32 * GIB)
GPU = Offer("gpu", "process", "h100", 16_000, 64 * GIB, "H100", ("0", "1", "2", "3"))
OLD = Offer("old", "process", "a100", 8000, 32 * GIB, "A100", ("0", "1"))


def job(
    name: str, want: Resources, account: str = "a", priority: int = 0, waited_s: float = 0
) -> Candidate:
    pool = {"H100": "h100", "A100": "a100", None: "a100" if want.gpus else "local-cpu"}
    made = NOW - timedelta(seconds=waited_s)
    return Candidate(name, account, want, pool[want.gpu_type], priority, made, 3600)


def cpus(n: float, memory: int = GIB) -> Resources:
    return Resources(int(n * 1000), memory)


def run(
    jobs: list[Candidate],
    offers: list[Offer],
    uses: list[Use] | None = None,
    usage: dict[str, float] | None = None,
    fallback: bool = False,
) -> list[Placement]:
    return place(jobs, offers, uses or [], POOLS, usage or {}, {}, NOW, fallback).placements


def use(one: Placement) -> Use:
    return Use(one.offer_id, one.millicpus, one.memory_bytes, one.devices)


wants = st.builds(
    Resources,
    millicpus=st.sampled_from([50, 500, 1000, 4000, 8000, 16_000, 20_000]),
    memory_bytes=st.sampled_from([GIB, 8 * GIB, 32 * GIB, 100 * GIB]),
    gpus=st.sampled_from([0, 0, 0, 1, 2, 3, 5]),
    gpu_type=st.sampled_from([None, "H100", "A100"]),
).map(lambda r: r if r.gpus else replace(r, gpu_type=None))
offer_sets = st.lists(st.sampled_from([CPU, GPU, OLD]), unique=True, max_size=3)
job_lists = st.lists(
    st.tuples(wants, st.sampled_from("abc"), st.integers(-2, 2), st.integers(0, 900)), max_size=30
).map(lambda rows: [job(f"j{i:02}", w, a, p, s) for i, (w, a, p, s) in enumerate(rows)])


@settings(max_examples=300)
@given(job_lists, offer_sets, st.integers(0, 12), st.booleans(), st.randoms(use_true_random=False))
def test_a_round_never_oversubscribes(
    jobs: list[Candidate], offers: list[Offer], n_running: int, fallback: bool, random: object
) -> None:
    running = [use(p) for p in run(jobs[:n_running], offers, fallback=fallback)]
    waiting = jobs[n_running:]
    made = run(waiting, offers, running, fallback=fallback)
    asked = {j.job_id: j.resources for j in waiting}
    assert len({p.job_id for p in made}) == len(made)
    by_id = {o.id: o for o in offers}
    for offer in offers:
        all_uses = [u for u in [*running, *map(use, made)] if u.offer_id == offer.id]
        assert sum(u.millicpus for u in all_uses) <= offer.millicpus
        assert sum(u.memory_bytes for u in all_uses) <= offer.memory_bytes
        devices = Counter(d for u in all_uses for d in u.devices)
        assert set(devices) <= set(offer.devices)
        assert max(devices.values(), default=0) <= 1
    for one in made:
        want, offer = asked[one.job_id], by_id[one.offer_id]
        assert (one.millicpus, one.memory_bytes) == (want.millicpus, want.memory_bytes)
        assert (one.executor, one.pool) == (offer.executor, offer.pool)
        assert len(one.devices) == (0 if one.fallback else want.gpus)
        assert want.gpu_type in (None, offer.gpu_type) or one.fallback
        if one.fallback:
            assert fallback
            assert want.gpus
            assert not any(o.devices for o in offers)
    random.shuffle(waiting)  # type: ignore[attr-defined]
    random.shuffle(offers)  # type: ignore[attr-defined]
    assert run(waiting, offers, running, fallback=fallback) == made


@given(job_lists, offer_sets)
def test_on_an_idle_machine_the_first_possible_job_always_starts(
    jobs: list[Candidate], offers: list[Offer]
) -> None:
    possible = any(
        shortfall(j.resources, free_of(o, [])) is None for j in jobs for o in offers
    )  # fmt: skip
    assert bool(run(jobs, offers)) == possible


def test_best_fit_and_the_pool_that_was_asked() -> None:
    small = replace(CPU, id="small", millicpus=2000)
    (one,) = run([job("j", cpus(2))], [CPU, GPU, small])
    assert one.offer_id == "small"
    (one,) = run([job("j", cpus(12))], [CPU, GPU])
    assert (one.offer_id, one.devices) == ("gpu", ())
    (one,) = run([job("j", Resources(gpus=1, gpu_type="H100"))], [CPU, OLD, GPU])
    assert (one.offer_id, one.devices) == ("gpu", ("0",))
    (one,) = run([job("j", Resources(gpus=1))], [CPU, OLD, GPU])
    assert one.offer_id == "old"
    (one,) = run([job("j", Resources(gpus=1))], [CPU, OLD, GPU], [Use("old", 0, 0, ("0", "1"))])
    assert one.offer_id == "gpu"


def test_several_gpus_are_all_or_nothing_on_one_machine() -> None:
    want = Resources(gpus=3, gpu_type="H100")
    busy = [Use("gpu", 0, 0, ("1",))]
    assert run([job("j", want)], [GPU], busy)[0].devices == ("0", "2", "3")
    twin = replace(GPU, id="gpu2")
    split = [Use("gpu", 0, 0, ("0", "1")), Use("gpu2", 0, 0, ("2", "3"))]
    assert run([job("j", want)], [GPU, twin], split) == []


def test_fallback_only_where_no_machine_has_a_gpu() -> None:
    want = job("j", Resources(2000, gpus=4, gpu_type="H100"))
    (one,) = run([want], [CPU], fallback=True)
    assert (one.fallback, one.pool, one.devices, one.millicpus) == (True, "local-cpu", (), 2000)
    assert run([want], [CPU]) == []
    full = [Use("gpu", 0, 0, GPU.devices)]
    assert run([want], [CPU, GPU], full, fallback=True) == []


def test_second_tenant_starts_within_two_rounds_of_ten_thousand_jobs() -> None:
    many = [job(f"a{i:05}", cpus(1), "a", 0, 90_000 - i) for i in range(10_000)]
    second = job("b", cpus(1), "b")
    offer = replace(CPU, millicpus=1000)
    first = run([*many, second], [offer])
    if "b" not in {p.job_id for p in first}:
        left = [j for j in [*many, second] if j.job_id not in {p.job_id for p in first}]
        first = run(left, [offer], usage={"a": 1.0})
    assert [p.job_id for p in first] == ["b"]
    assert "b" in {p.job_id for p in run([*many, second], [CPU])}


def _start_of_big(n_small_accounts: int, priority: int, rounds: int = 400) -> int | None:
    """Small jobs come without end; the round in which a machine-wide job starts. 10 s a round."""
    live: list[tuple[int, str, Placement]] = []
    usage: dict[str, float] = {}
    queue: list[Candidate] = []
    for n in range(rounds):
        now = NOW + timedelta(seconds=10 * n)
        live = [row for row in live if row[0] > n]
        for i in range(6):
            account = "a" if n_small_accounts == 0 else f"s{i % n_small_accounts}"
            queue.append(Candidate(f"s{n:03}{i}", account, cpus(2), "local-cpu", priority, now, 60))
        if n == 3:
            queue.append(Candidate("big", "a", cpus(8), "local-cpu", 0, now, 60))
        busy = [use(p) for *_, p in live]
        made = place(queue, [CPU], busy, POOLS, usage, {}, now, False).placements
        owner = {c.job_id: c.account_id for c in queue}
        for p in made:
            if p.job_id == "big":
                return n
            live.append((n + 3 + n % 4, owner[p.job_id], p))
        gone = {p.job_id for p in made}
        queue = [c for c in queue if c.job_id not in gone][-500:] + [
            c for c in queue[:-500] if c.job_id == "big"
        ]
        for _, account, p in live:
            usage[account] = usage.get(account, 0.0) + p.millicpus / 100
    return None


@pytest.mark.parametrize(("accounts", "priority"), [(0, 0), (1, 0), (3, 0), (0, 5), (2, 5)])
def test_a_stream_of_small_jobs_does_not_starve_a_big_one(accounts: int, priority: int) -> None:
    started = _start_of_big(accounts, priority)
    assert started is not None
    # 300 s until it reserves, a minute a point of priority, and what then still runs.
    assert started <= 3 + 30 + 6 * priority + 10


BIG, BUSY = Resources(8000, 4 * GIB), [Use("cpu", 4000, GIB)]


def test_a_fresh_big_job_is_passed_and_one_that_waited_is_not() -> None:
    small = job("s", cpus(1))
    assert [p.job_id for p in run([job("b", BIG, waited_s=9), small], [CPU], BUSY)] == ["s"]
    assert run([job("b", BIG, waited_s=RESERVE_AFTER_S), small], [CPU], BUSY) == []


def test_a_higher_priority_reserves_at_once() -> None:
    assert run([job("b", BIG, priority=1), job("s", cpus(1))], [CPU], BUSY) == []
    same = [job("b", BIG, priority=1, waited_s=5), job("s", cpus(1), priority=1)]
    assert [p.job_id for p in run(same, [CPU], BUSY)] == ["s"]


def test_backfill_takes_only_what_is_not_reserved() -> None:
    big = job("b", Resources(8000, 4 * GIB, 4, "H100"), waited_s=999)
    busy = [Use("gpu", 1000, GIB, ("0", "1"))]
    jobs = [
        big,
        job("cpu", cpus(7), "b"),
        job("more", cpus(1), "b"),
        job("gpu", Resources(50, gpus=1, gpu_type="H100"), "c"),
    ]
    assert [p.job_id for p in run(jobs, [GPU], busy)] == ["cpu"]
    other = replace(GPU, id="gpu2", devices=("0",))
    made = {p.job_id: p.offer_id for p in run(jobs, [GPU, other], busy)}
    assert made == {"cpu": "gpu2", "more": "gpu2", "gpu": "gpu2"}


def test_reserved_devices_are_left_alone() -> None:
    big = job("b", Resources(1000, GIB, 3, "H100"), waited_s=999)
    busy = [Use("gpu", 1000, GIB, ("0", "1"))]
    one = job("gpu", Resources(50, GIB, 1, "H100"), "c")
    assert [p.job_id for p in run([one], [GPU], busy)] == ["gpu"]
    assert run([big, one], [GPU], busy) == []


def test_cpu_jobs_leave_gpu_machines_alone_while_they_can() -> None:
    taken = [Use("gpu", 12_000, GIB, GPU.devices)]
    (one,) = run([job("j", cpus(2))], [CPU, GPU], taken)
    assert one.offer_id == "cpu"


def test_what_can_never_run_reserves_nothing() -> None:
    jobs = [job("never", cpus(9), waited_s=9999, priority=9), job("s", cpus(1))]
    assert [p.job_id for p in run(jobs, [CPU])] == ["s"]


@given(wants, offer_sets.filter(bool), st.booleans())
def test_possible_is_what_an_idle_machine_starts_or_a_priced_gpu_type_that_no_machine_has(
    want: Resources, offers: list[Offer], fallback: bool
) -> None:
    starts = bool(run([job("j", want)], offers, fallback=fallback))
    there = {o.gpu_type for o in offers if o.devices}
    waits = want.gpus and not (fallback and not there)
    waits = waits and (want.gpu_type not in there if want.gpu_type else not there)
    fits = run([job("j", replace(want, gpus=0, gpu_type=None))], offers)
    if starts or (waits and fits):
        check_possible(want, offers, POOLS, fallback)
        return
    with pytest.raises(ImpossibleRequest) as caught:
        check_possible(want, offers, POOLS, fallback)
    largest = caught.value.extra["largest"]
    near = next(o for o in offers if o.pool == largest["pool"])
    assert largest["cpus"] == near.millicpus / 1000
    assert largest["gpus"] == len(near.devices)
    n_gpus = min(want.gpus, largest["gpus"])
    fitting = Resources(
        min(want.millicpus, round(largest["cpus"] * 1000)),
        min(want.memory_bytes, largest["memory_bytes"]),
        n_gpus,
        largest["gpu_type"] if n_gpus else None,
    )
    check_possible(fitting, offers, POOLS, fallback)
    assert caught.value.extra["field"].startswith("resources.")


def test_without_offers_nothing_is_known_to_be_impossible() -> None:
    check_possible(cpus(1000), [], POOLS, False)
    assert run([job("j", cpus(1))], []) == []


def test_missing_is_zero_exactly_when_it_fits() -> None:
    assert missing(cpus(8), free_of(CPU, [])) == 0
    assert missing(cpus(8), free_of(CPU, BUSY)) == 0.5
    assert missing(Resources(gpus=4), free_of(GPU, [Use("gpu", 0, 0, ("0",))])) == 0.25


def test_a_round_of_a_thousand_looks_at_few_things_twice() -> None:
    """No test asserts a time (D12 of the goals): a thousand candidates must simply all be read."""
    offers = [replace(CPU, id=f"o{i}", millicpus=64_000, memory_bytes=256 * GIB) for i in range(4)]
    jobs = [job(f"j{i:04}", cpus(1 + i % 7 / 4), "abcdefgh"[i % 8], i % 3, i) for i in range(1000)]
    made = run(jobs, offers)
    room = 4 * 64_000 - sum(p.millicpus for p in made)
    assert room < 4 * 1000
