"""Who may pass a reservation, by declared run times; and what the queue looks like from a Job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.outlook import LEAVE_S, position, starts_at
from trainshed.domain.placement import RESERVE_AFTER_S, Candidate, place
from trainshed.domain.preemption import Victim
from trainshed.domain.resources import GIB, Offer, Pool, Resources, Use

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOLS = {"local-cpu": Pool("local-cpu", None, 0, 1)}
CPU = Offer("cpu", "process", "local-cpu", 8000, 32 * GIB)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def job(
    name: str, millicpus: int, runs_s: int = 3600, waited_s: float = 0, priority: int = 0
) -> Candidate:
    return Candidate(
        name, "a", Resources(millicpus), "local-cpu", priority, after(-waited_s), runs_s
    )


def run(jobs: list[Candidate], uses: list[Use]) -> list[str]:
    made = place(jobs, [CPU], uses, POOLS, {}, {}, NOW, False)
    return sorted(p.job_id for p in made.placements)


def until(ends_s: float | None, millicpus: int = 4000) -> Use:
    return Use("cpu", millicpus, GIB, (), None if ends_s is None else after(ends_s))


BIG = job("big", 8000, waited_s=RESERVE_AFTER_S)


def test_who_ends_before_the_reserved_start_may_pass() -> None:
    assert run([BIG, job("short", 2000, 600), job("long", 2000, 601)], [until(600)]) == ["short"]
    assert run([BIG, job("short", 2000, 600)], [until(599)]) == []


def test_the_reserved_start_is_when_enough_has_ended() -> None:
    two = [until(100, 3000), until(900, 3000)]
    assert run([BIG, job("s", 1000, 900)], two) == ["s"]
    assert run([replace(BIG, resources=Resources(5000)), job("s", 2000, 900)], two) == []
    assert run([replace(BIG, resources=Resources(5000)), job("s", 2000, 100)], two) == ["s"]


def test_without_declared_ends_nobody_passes() -> None:
    assert run([BIG, job("short", 2000, 1)], [until(None)]) == []
    assert run([BIG, job("short", 2000, 1)], [replace(until(500), leaving=True)]) == []


def test_two_that_pass_do_not_take_the_same_room_twice() -> None:
    jobs = [BIG, job("s1", 3000, 60), job("s2", 3000, 60)]
    assert run(jobs, [until(600)]) == ["s1"]


@given(
    st.lists(st.tuples(st.sampled_from([500, 1000, 3000]), st.integers(1, 2000)), max_size=8),
    st.lists(st.tuples(st.sampled_from([1000, 2000]), st.integers(1, 1500)), max_size=3),
)
def test_backfill_never_moves_the_reserved_start(
    small: list[tuple[int, int]], busy: list[tuple[int, int]]
) -> None:
    """All who run or pass run for as long as they may: the reserved Job starts no later."""
    uses = [until(s, m) for m, s in busy]
    jobs = [BIG, *(job(f"s{i}", m, s) for i, (m, s) in enumerate(small))]
    made = place(jobs, [CPU], uses, POOLS, {}, {}, NOW, False).placements
    due = max((s for _, s in busy), default=0)
    if not busy:
        assert "big" in {p.job_id for p in made}
        return
    runs_s = {c.job_id: c.max_runtime_s for c in jobs}
    for one in made:
        assert one.job_id != "big"
        assert runs_s[one.job_id] <= due


def look(
    name: str, jobs: list[Candidate], uses: list[Use], victims: list[Victim] | None = None
) -> float | None:
    at = starts_at(name, jobs, [CPU], uses, POOLS, {}, {}, NOW, False, victims=victims or [])
    return None if at is None else (at - NOW).total_seconds()


def test_when_a_job_starts_if_all_run_as_long_as_they_may() -> None:
    jobs = [job(f"j{i}", 4000, 100, 10 - i) for i in range(5)]
    starts = [look(c.job_id, jobs, []) for c in jobs]
    assert starts == [0, 0, 100, 100, 200]
    assert [position(c.job_id, jobs, {}, {}, NOW) for c in jobs] == [1, 2, 3, 4, 5]
    assert look("j0", jobs, [until(50, 8000)]) == 50
    assert look("j0", jobs, [until(None, 8000)]) is None
    assert look("j0", jobs, [until(-5, 8000)]) == LEAVE_S
    assert look("never", [*jobs, job("never", 9000)], []) is None
    assert position("nobody", jobs, {}, {}, NOW) == 0


def test_a_higher_priority_starts_when_the_evicted_have_left() -> None:
    busy = until(5000, 8000)
    lower = Victim("v", "v", 0, busy, 1000)
    assert look("h", [job("h", 8000, priority=1)], [busy], [lower]) == LEAVE_S
    assert look("h", [job("h", 8000)], [busy], [lower]) == 5000


def test_position_is_by_turns_not_by_age() -> None:
    rich = [job(f"r{i}", 1000, waited_s=30 - i) for i in range(3)]
    poor = replace(job("p", 1000), account_id="b")
    jobs = [*rich, poor]
    assert position("p", jobs, {}, {}, NOW) == 2
    assert position("p", jobs, {"b": 1e9}, {}, NOW) == 4
    assert position("p", [*rich, replace(poor, priority=1)], {"b": 1e9}, {}, NOW) == 1
