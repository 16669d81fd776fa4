"""Who must make room: least work lost, only for strictly higher priority, and never for nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainshed.domain.attempt import Attempt
from trainshed.domain.placement import Candidate, Round, place
from trainshed.domain.preemption import Running, Victim, cheapest, unsaved_ms, victims
from trainshed.domain.resources import GIB, Offer, Pool, Resources, Use, free_of, shortfall
from trainshed.domain.retry import MAX_INFRASTRUCTURE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOLS = {"local-cpu": Pool("local-cpu", None, 0, 1), "h100": Pool("h100", "H100", 0, 1)}
CPU = Offer("cpu", "process", "local-cpu", 8000, 32 * GIB)
GPU = Offer("gpu", "process", "h100", 16_000, 64 * GIB, "H100", ("0", "1", "2", "3"))


def job(
    want: Resources, priority: int = 0, name: str = "j", account: str = "a", waited_s: float = 0
) -> Candidate:
    made = NOW - timedelta(seconds=waited_s)
    pool = "h100" if want.gpus else "local-cpu"
    return Candidate(name, account, want, pool, priority, made, 3600)


def runs(
    name: str, millicpus: int = 2000, priority: int = 0, unsaved_s: float = 60,
    offer: Offer = CPU, devices: tuple[str, ...] = (),
) -> Victim:  # fmt: skip
    use = Use(offer.id, millicpus, GIB, devices, NOW + timedelta(hours=1))
    return Victim(name, f"job-{name}", priority, use, round(unsaved_s * 1000))


def decide(
    jobs: list[Candidate], there: list[Victim], offers: list[Offer] | None = None, **more: object
) -> Round:
    uses = [v.use for v in there]
    return place(jobs, offers or [CPU], uses, POOLS, {}, {}, NOW, False, victims=there, **more)  # type: ignore[arg-type]


def evicted(round_: Round) -> list[str]:
    return sorted(v.attempt_id for v in round_.evictions)


def test_the_one_that_loses_least_leaves_and_no_more_than_needed() -> None:
    there = [runs("a", unsaved_s=50), runs("b", unsaved_s=5), runs("c", unsaved_s=90)]
    there.append(runs("d", unsaved_s=20))
    assert evicted(decide([job(Resources(2000), 1)], there)) == ["b"]
    assert evicted(decide([job(Resources(4000), 1)], there)) == ["b", "d"]
    big = runs("big", 4000, unsaved_s=24)
    assert evicted(decide([job(Resources(4000), 1)], [*there[:2], big])) == ["big"]


def test_only_strictly_lower_priorities_by_what_users_gave() -> None:
    there = [runs("a", 4000, priority=3), runs("b", 4000, priority=4)]
    assert evicted(decide([job(Resources(4000), 3)], there)) == []
    assert evicted(decide([job(Resources(4000), 4)], there)) == ["a"]
    assert evicted(decide([job(Resources(8000), 4)], there)) == []
    aged = job(Resources(4000), 0, waited_s=1e6)
    assert evicted(decide([aged, job(Resources(9000), 9, "never")], there)) == []


def test_room_that_is_being_left_is_kept_and_nobody_else_must_go() -> None:
    there = [runs("a", 4000, unsaved_s=1), runs("b", 4000, unsaved_s=9)]
    first = decide([job(Resources(4000), 1)], there)
    assert evicted(first) == ["a"]
    leaving = [replace(there[0].use, leaving=True), there[1].use]
    again = place(
        [job(Resources(4000), 1), job(Resources(100), 0, "small", "b")], [CPU], leaving, POOLS,
        {}, {}, NOW, False, victims=[there[1]],
    )  # fmt: skip
    assert again == Round([], [])
    half = place(
        [job(Resources(4000), 1), job(Resources(1000), 1, "small", "b")],
        [replace(CPU, millicpus=10_000)], leaving, POOLS, {}, {}, NOW, False,
        victims=[there[1]],
    )  # fmt: skip
    assert [p.job_id for p in half.placements] == ["small"]
    assert not half.evictions


def test_several_blocked_jobs_each_get_their_room() -> None:
    there = [runs(f"v{i}", 2000, unsaved_s=i) for i in range(4)]
    jobs = [job(Resources(2000), 5, f"j{i}") for i in range(3)]
    assert evicted(decide(jobs, there)) == ["v0", "v1", "v2"]


def test_several_gpus_are_all_or_nothing_on_one_machine() -> None:
    twin = replace(GPU, id="gpu2")
    there = [
        runs("a", 1000, 0, 5, GPU, ("0", "1")), runs("b", 1000, 9, 1, GPU, ("2",)),
        runs("c", 1000, 0, 9, twin, ("0",)), runs("d", 1000, 0, 9, twin, ("1", "2")),
        runs("e", 1000, 9, 9, twin, ("3",)),
    ]  # fmt: skip
    want = Resources(1000, GIB, 3, "H100")
    assert evicted(decide([job(want, 5)], there, [GPU, twin])) == ["a"]
    four = decide([job(replace(want, gpus=4), 5)], there, [GPU, twin])
    assert (four.placements, four.evictions) == ([], [])


def test_a_drained_machine_gives_nothing_and_starts_nothing() -> None:
    there = [runs("a", 4000)]
    got = decide([job(Resources(4000), 5)], there, drained={"cpu"})
    assert (got.placements, got.evictions) == ([], [])


def test_who_may_be_evicted() -> None:
    lease = Attempt(
        "att", "job", "acc", 1, 1, "cpu", "process", "local-cpu", 1000, GIB,
        NOW - timedelta(seconds=90), started_at=NOW - timedelta(seconds=80), checkpoint_ms=30_000,
    )  # fmt: skip
    one = Running(lease, 2, 3600, 0, 600_000)
    (found,) = victims([one], NOW, 90)
    assert (found.unsaved_ms, found.priority) == (50_000, 2)
    assert found.use.ends_at == NOW - timedelta(seconds=80) + timedelta(seconds=3000)
    assert victims([one], NOW, 91) == []
    stopping = replace(one, attempt=replace(lease, order="pause"))
    assert victims([stopping], NOW, 0) == []
    assert stopping.use(NOW).leaving
    last_straw = replace(one, infrastructure_used=MAX_INFRASTRUCTURE - 1)
    assert victims([last_straw], NOW, 0) == []
    saving = replace(one, attempt=replace(lease, order="checkpoint"))
    assert len(victims([saving], NOW, 0)) == 1
    assert unsaved_ms(replace(lease, started_at=None), NOW) == 0


def _simulate(n_rounds: int) -> tuple[list[str], int]:
    """One machine, a low job that waited for ages, and a high one: who runs in each round."""
    queue = {
        "low": job(Resources(8000), 0, "low", "l", waited_s=1e6),
        "high": job(Resources(8000), 10, "high", "h"),
    }
    live: tuple[str, int] | None = ("low", 0)
    del queue["low"]
    ran, evictions = [], 0
    for n in range(1, n_rounds):
        now = NOW + timedelta(seconds=60 * n)
        there = []
        if live is not None:
            use = Use("cpu", 8000, GIB, (), now + timedelta(hours=9))
            there = [Victim(live[0], live[0], 10 * (live[0] == "high"), use, 60_000)]
        got = place(
            list(queue.values()), [CPU], [v.use for v in there], POOLS, {"h": 1e9}, {}, now,
            False, victims=there,
        )  # fmt: skip
        for victim in got.evictions:
            evictions += 1
            gone = job(Resources(8000), 0, victim.job_id, "l", waited_s=1e6)
            queue[victim.job_id] = replace(gone, queued_at=now)
            live = None
        for one in got.placements:
            live = (one.job_id, n)
            del queue[one.job_id]
        ran.append(live[0] if live else "-")
    return ran, evictions


def test_no_ping_pong_even_with_an_old_evicted_job_of_a_poor_account() -> None:
    ran, evictions = _simulate(300)
    assert evictions == 1
    assert ran == ["-"] + ["high"] * 298


victim_lists = st.lists(
    st.builds(
        lambda n, cpus, memory, priority, loss: replace(
            runs(f"v{n}", cpus, priority),
            use=Use("cpu", cpus, memory * GIB),
            unsaved_ms=loss,
        ),
        st.integers(0, 10**6),
        st.sampled_from([500, 1000, 2000, 4000]),
        st.integers(1, 16),
        st.integers(0, 2),
        st.integers(0, 50),
    ),
    max_size=7,
    unique_by=lambda v: v.attempt_id,
)


@settings(max_examples=300)
@given(victim_lists, st.integers(500, 8000), st.integers(1, 32))
def test_the_cheapest_set_is_the_cheapest_of_all_sets(
    able: list[Victim], millicpus: int, memory: int
) -> None:
    want = Resources(millicpus, memory * GIB)
    free = free_of(CPU, [v.use for v in able])

    def enough(some: object) -> bool:
        left = free
        for victim in some:  # type: ignore[attr-defined]
            left = left.without(victim.use)
        return shortfall(want, left) is None

    found = cheapest(able, enough)
    sets = [s for n in range(1, len(able) + 1) for s in itertools.combinations(able, n)]
    good = [s for s in sets if enough(s)]
    assert (found is None) == (not good)
    if found is not None:
        cost = (sum(v.unsaved_ms for v in found), len(found))
        assert enough(found)
        assert cost == min((sum(v.unsaved_ms for v in s), len(s)) for s in good)


def test_with_very_many_the_set_is_still_enough_and_without_spare() -> None:
    able = [replace(runs(f"v{i:03}", 100), unsaved_ms=1000 + i) for i in range(80)]

    def enough(some: object) -> bool:
        return sum(v.use.millicpus for v in some) >= 4000  # type: ignore[attr-defined]

    found = cheapest(able, enough)
    assert found is not None
    assert len(found) == 40


@settings(max_examples=150)
@given(victim_lists, st.integers(500, 8000), st.integers(0, 3))
def test_evictions_make_exactly_the_room_that_is_asked(
    there: list[Victim], millicpus: int, priority: int
) -> None:
    uses = [v.use for v in there]
    if sum(u.millicpus for u in uses) > 8000 or sum(u.memory_bytes for u in uses) > 32 * GIB:
        return
    one = job(Resources(millicpus, GIB), priority)
    got = decide([one], there)
    assert all(v.priority < priority for v in got.evictions)
    gone = {v.attempt_id for v in got.evictions}
    rest = [v.use for v in there if v.attempt_id not in gone]
    after = decide([one], [v for v in there if v.attempt_id not in gone])
    if gone:
        assert not got.placements
        assert [p.job_id for p in after.placements] == ["j"]
        for name in gone:
            more = [*rest, next(v.use for v in there if v.attempt_id == name)]
            assert shortfall(one.resources, free_of(CPU, more)) is not None


@pytest.mark.parametrize(("preemption", "strangers"), [("own", []), ("any", ["att"]), ("off", [])])
def test_whoever_sets_their_own_priority_evicts_nobody_elses_job(
    preemption: str, strangers: list[str]
) -> None:
    lease = Attempt("att", "job", "acc", 1, 1, "cpu", "process", "local-cpu", 8000, GIB, NOW)
    able = victims([Running(lease, 0, 3600, 0, 0)], NOW, 0, preemption)
    uses = [Running(lease, 0, 3600, 0, 0).use(NOW)]

    def asked_by(account: str) -> list[str]:
        high = [job(Resources(4000), 1000, account=account)]
        return evicted(place(high, [CPU], uses, POOLS, {}, {}, NOW, False, victims=able))

    assert asked_by("stranger") == strangers
    assert asked_by("acc") == ([] if preemption == "off" else ["att"])
