"""Each due time fires once (G17): two servers, crashes, clocks that jump, policies, failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import stores
from tests.support.engine import make_engine, principal_with_credits
from tests.support.timetable import Shed

from trainshed.bootstrap.clock import SystemIds
from trainshed.domain.attempt import Ending
from trainshed.domain.errors import Conflict, IllegalTransition, NotFound
from trainshed.domain.people import Key, Principal
from trainshed.domain.schedule import CatchUp, FireState, Overlap, Phase
from trainshed.domain.states import JobState
from trainshed.ports.deps import Deps
from trainshed.ports.schedules import ScheduleFilter
from trainshed.testing.fakes import ManualClock
from trainshed.usecases import attempts, control, deliveries, dispatch, firing, schedules


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return stores.sqlite(tmp_path / "trainshed.db")
    fresh: Callable[[], str] = request.getfixturevalue("pg_server")
    return fresh()


@pytest.fixture
def shed(url: str, tmp_path: Path) -> Iterator[Shed]:
    engine, clock, _ = make_engine(tmp_path, url)
    yield Shed(engine, clock)
    broken = engine.deps.store.verify()
    engine.deps.store.close()
    assert broken == []


def test_a_schedule_fires_at_its_minute_once_and_then_the_next(shed: Shed) -> None:
    one = shed.create()
    assert shed.look(one).phase is Phase.WAITING
    assert firing.fire_due(shed.deps) == 0
    assert shed.tick(60) == 1
    assert shed.tick(0) == 0
    (fire,) = shed.fires(one)
    assert fire.state is FireState.FIRED
    assert fire.due_at == one.next_due
    assert shed.look(one).phase is Phase.QUEUED
    shed.finish()
    seen = shed.look(one)
    assert seen.phase is Phase.SUCCEEDED
    assert seen.schedule.next_due == one.next_due + timedelta(minutes=1)
    assert shed.tick(60) == 1
    assert len(shed.jobs()) == 2


def test_the_wall_clock_set_back_fires_nothing_twice(shed: Shed) -> None:
    one = shed.create(overlap=Overlap.ALLOW)
    for _ in range(3):
        shed.tick(60)
    assert len(shed.fires(one)) == 3
    for back in (-120, -86_400, -5):
        shed.clock.jump(back)
        firing.resync(shed.deps)
        before = {f.due_at for f in shed.fires(one)}
        for _ in range(4):
            shed.tick(30)
        after = [f.due_at for f in shed.fires(one)]
        assert len(after) == len(set(after))
        assert before <= set(after)
    made = [f.job_id for f in shed.fires(one)]
    assert len(made) == len(set(made)) == len(shed.jobs())


def test_a_clock_years_ahead_puts_nothing_off_for_years(shed: Shed) -> None:
    one = shed.create()
    shed.clock.jump(86_400 * 3650)
    assert firing.fire_due(shed.deps) == 1
    shed.finish()
    shed.clock.jump(-86_400 * 3650)
    firing.resync(shed.deps)
    assert shed.tick(60) == 1
    assert len(shed.fires(one)) == 2


@pytest.mark.parametrize(
    ("policy", "jobs", "skipped"),
    [(CatchUp.SKIP, 0, 1), (CatchUp.ONE, 1, 0), (CatchUp.ALL, 6, 0)],
)
def test_missed_fires_after_an_absence(
    shed: Shed, policy: CatchUp, jobs: int, skipped: int
) -> None:
    one = shed.create(cron="*/10 * * * *", catch_up=policy, overlap=Overlap.ALLOW)
    shed.clock.jump(3600 + 300)
    while firing.fire_due(shed.deps):
        pass
    states = [f.state for f in shed.fires(one)]
    assert states.count(FireState.FIRED) == jobs == len(shed.jobs())
    assert states.count(FireState.SKIPPED) == skipped
    assert shed.look(one).schedule.next_due > shed.clock.utc_now()


def test_overlap_skip_records_it_and_allow_runs_both(shed: Shed) -> None:
    skip, allow = shed.create("skip"), shed.create("allow", overlap=Overlap.ALLOW)
    shed.tick(60)
    shed.tick(60)
    assert [f.state for f in shed.fires(skip)] == [FireState.SKIPPED, FireState.FIRED]
    assert [f.state for f in shed.fires(allow)] == [FireState.FIRED, FireState.FIRED]
    assert shed.look(skip).phase is Phase.QUEUED


def test_overlap_queue_waits_and_then_fires_the_newest_once(shed: Shed) -> None:
    one = shed.create(overlap=Overlap.QUEUE)
    shed.tick(60)
    for _ in range(3):
        assert shed.tick(60) == 0
    shed.finish()
    assert firing.fire_due(shed.deps) == 1
    assert len(shed.fires(one)) == 2
    assert firing.fire_due(shed.deps) == 0


def test_two_servers_fire_each_due_time_once(pg_server: Callable[[], str], tmp_path: Path) -> None:
    url = pg_server()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one_engine, clock, _ = make_engine(tmp_path / "a", url)
    other, other_clock, _ = make_engine(tmp_path / "b", url)
    other = replace(other, deps=replace(other.deps, ids=SystemIds()))
    shed = Shed(one_engine, clock)
    made = [shed.create(f"s{n}", overlap=Overlap.ALLOW) for n in range(20)]
    other_clock.jump((clock.utc_now() - other_clock.utc_now()).total_seconds())
    failures: list[BaseException] = []

    def run(deps: Deps, at: ManualClock) -> None:
        try:
            for _ in range(5):
                at.advance(60)
                barrier.wait(30)
                firing.fire_due(deps)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    barrier = threading.Barrier(2)
    threads = [
        threading.Thread(target=run, args=pair)
        for pair in ((one_engine.deps, clock), (other.deps, other_clock))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    for one in made:
        fires = shed.fires(one)
        assert len(fires) == len({f.due_at for f in fires}) == 5
    assert len(shed.jobs()) == 100
    assert one_engine.deps.store.verify() == []
    other.deps.store.close()
    one_engine.deps.store.close()


def test_a_fire_without_credits_is_recorded_and_the_next_one_tried(
    url: str, tmp_path: Path
) -> None:
    engine, clock, _ = make_engine(tmp_path, url)
    poor = Shed(engine, clock, credits=0)
    one = poor.create()
    assert poor.tick(60) == 1
    (fire,) = poor.fires(one)
    assert fire.state is FireState.FAILED
    assert "credits" in fire.message
    seen = poor.look(one)
    assert seen.phase is Phase.FAILED
    assert seen.schedule.last_error == fire.message
    assert poor.tick(60) == 1
    assert len(poor.fires(one)) == 2
    assert poor.jobs() == []
    kinds = [e.kind for e in engine.deps.store.read(lambda tx: tx.events.page(0, 50))]
    assert kinds.count("schedule.failed") == 2
    assert engine.deps.store.verify() == []
    engine.deps.store.close()


def test_one_bad_schedule_does_not_hold_up_the_others(shed: Shed) -> None:
    bad = shed.create("bad")
    good = shed.create("good")
    broken = replace(bad.spec, workload="gone")
    shed.deps.store.write(lambda tx: tx.schedules.save(replace(bad, spec=broken)))
    assert shed.tick(60) == 2
    assert shed.fires(bad)[0].state is FireState.FAILED
    assert shed.fires(good)[0].state is FireState.FIRED


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
def test_a_key_that_ended_stops_what_it_scheduled(shed: Shed, ended: str) -> None:
    now = shed.clock.utc_now()
    key = Key(
        "key_" + "1" * 32, shed.owner.account_id, shed.owner.user_id or "", "k", "ts_", "look",
        "hash", ("write",), now, **{ended: now},
    )  # fmt: skip
    shed.deps.store.write(lambda tx: tx.people.insert_key(key))
    shed.owner = replace(shed.owner, key_id=key.id)
    one = shed.create()
    shed.tick(60)
    assert shed.fires(one)[0].state is FireState.FAILED
    shed.owner = replace(shed.owner, key_id=None)
    schedules.update(shed.deps, shed.owner, one.id, schedules.Change(name="mine"))
    shed.tick(60)
    assert shed.fires(one)[0].state is FireState.FIRED


def test_run_now_and_retry(shed: Shed) -> None:
    one = shed.create(cron="0 0 1 1 *")
    with pytest.raises(Conflict):
        firing.retry(shed.deps, shed.owner, one.id)
    first = firing.fire_now(shed.deps, shed.owner, one.id)
    with pytest.raises(Conflict):
        firing.fire_now(shed.deps, shed.owner, one.id)
    shed.finish(code=1)
    assert shed.look(one).phase is Phase.FAILED
    with pytest.raises(Conflict):
        firing.retry(shed.deps, shed.owner, one.id)  # at the very same moment
    shed.clock.advance(1)
    again = firing.retry(shed.deps, shed.owner, one.id)
    assert again.job.retry_of == first.job.id
    shed.finish()
    assert shed.look(one).phase is Phase.SUCCEEDED
    shed.clock.advance(1)
    fresh = firing.retry(shed.deps, shed.owner, one.id)
    assert fresh.job.retry_of is None
    assert [f.kind for f in shed.fires(one)] == ["retry", "retry", "now"]
    assert shed.look(one).schedule.next_due == one.next_due


def test_notifications_call_a_job_as_its_dialect_calls_the_schedule(shed: Shed) -> None:
    one = shed.create(dialect="orchestrator", public_id="train-0000beef")
    shed.tick(60)
    job = shed.look(one).job

    def names(tx: Any) -> list[str | None]:
        return [deliveries.public_id(tx, d, job) for d in ("orchestrator", "middleman")]

    assert shed.deps.store.read(names) == ["train-0000beef", None]


def test_names_are_unique_until_deleted(shed: Shed) -> None:
    one = shed.create("same")
    with pytest.raises(Conflict):
        shed.create("same")
    other = shed.create("other")
    with pytest.raises(Conflict):
        schedules.update(shed.deps, shed.owner, other.id, schedules.Change(name="same"))
    schedules.delete(shed.deps, shed.owner, one.id)
    assert shed.create("same").id != one.id
    with pytest.raises(NotFound):
        shed.look(one)
    assert shed.tick(60) == 2


def test_pausing_and_resuming_moves_the_next_time(shed: Shed) -> None:
    one = shed.create()
    paused = schedules.update(shed.deps, shed.owner, one.id, schedules.Change(paused=True))
    assert paused.schedule.next_due is None
    assert shed.tick(600) == 0
    assert schedules.next_fires(shed.deps, shed.owner, one.id) == []
    schedules.update(shed.deps, shed.owner, one.id, schedules.Change(paused=False))
    assert shed.tick(0) == 0
    assert shed.tick(60) == 1
    assert len(schedules.next_fires(shed.deps, shed.owner, one.id)) == 10


def test_idle_only_refuses_while_it_runs_and_cancels_what_waits(shed: Shed) -> None:
    one = shed.create()
    shed.tick(60)
    (attempt,) = dispatch.lease(shed.engine)
    for act in (
        lambda: schedules.delete(shed.deps, shed.owner, one.id, idle_only=True),
        lambda: schedules.update(
            shed.deps, shed.owner, one.id, schedules.Change(cron="0 0 * * *"), idle_only=True
        ),
    ):
        with pytest.raises(IllegalTransition):
            act()
    attempts.finish(shed.engine, attempt.id, Ending("exited", exit_code=0))
    shed.tick(60)
    waiting = shed.look(one).job
    schedules.delete(shed.deps, shed.owner, one.id, idle_only=True)
    ended = shed.deps.store.read(lambda tx: tx.jobs.get(waiting.id))
    assert ended.state is JobState.CANCELLED


def test_another_account_sees_nothing(shed: Shed) -> None:
    one = shed.create()
    other = principal_with_credits(shed.engine, 1, "two")
    for act in (
        lambda who: schedules.get(shed.deps, who, one.id),
        lambda who: schedules.delete(shed.deps, who, one.id),
        lambda who: schedules.update(shed.deps, who, one.id, schedules.Change(name="x")),
        lambda who: schedules.fires(shed.deps, who, one.id, None, 10),
        lambda who: firing.fire_now(shed.deps, who, one.id),
        lambda who: firing.retry(shed.deps, who, one.id),
    ):
        with pytest.raises(NotFound):
            act(other)
    assert schedules.listing(shed.deps, ScheduleFilter(other.account_id), None, 0, 10) == []


def test_counts_and_filters_agree(shed: Shed) -> None:
    for n in range(4):
        shed.create(f"s{n}", cron="0 0 1 1 *")
    ids = [v.schedule.id for v in listing(shed)]
    firing.fire_now(shed.deps, shed.owner, ids[0])
    shed.finish(code=1)
    firing.fire_now(shed.deps, shed.owner, ids[1])
    shed.finish()
    firing.fire_now(shed.deps, shed.owner, ids[2])
    found = schedules.counts(shed.deps, shed.owner)
    assert found == {
        Phase.FAILED: 1, Phase.SUCCEEDED: 1, Phase.QUEUED: 1, Phase.WAITING: 1,
    }  # fmt: skip
    for phase in Phase:
        where = ScheduleFilter(shed.owner.account_id, phases=(phase,))
        got = schedules.listing(shed.deps, where, None, 0, 10)
        assert len(got) == found.get(phase, 0)
        assert all(v.phase is phase for v in got)


def listing(shed: Shed) -> list[Any]:
    return schedules.listing(shed.deps, ScheduleFilter(shed.owner.account_id), None, 0, 100)


def test_secrets_reach_the_job_and_nothing_else(shed: Shed) -> None:
    one = shed.create(env={"TOKEN": "canary-value"})
    shed.tick(60)
    job = shed.look(one).job
    sealed = shed.deps.store.read(lambda tx: tx.jobs.env(job.id))
    assert b"canary" not in sealed
    assert b"canary-value" in shed.deps.secrets.unseal(sealed)
    assert "canary" not in repr(shed.look(one))


def test_a_thousand_due_at_once_fire_within_two_seconds(
    tmp_path: Path, url: str, record_property: Callable[[str, object], None]
) -> None:
    engine, clock, _ = make_engine(tmp_path, url)
    shed = Shed(engine, clock, credits=10**13)
    for n in range(1000):
        shed.create(f"s{n}")
    began = time.perf_counter()
    assert shed.tick(60) == 1000
    took = time.perf_counter() - began
    print(f"1,000 fires in {took:.2f} s ({url.partition(':')[0]})")
    record_property("seconds", took)
    assert len(shed.jobs()) == 1000
    assert shed.tick(0) == 0
    assert engine.deps.store.verify() == []
    engine.deps.store.close()


def test_cancelling_the_job_of_a_fire_leaves_the_schedule(shed: Shed) -> None:
    one = shed.create()
    shed.tick(60)
    control.cancel(shed.deps, shed.owner, shed.look(one).job.id)
    assert shed.look(one).phase is Phase.FAILED
    assert shed.tick(60) == 1


def test_a_principal_without_write_may_not_schedule(shed: Shed) -> None:
    from trainshed.domain.errors import NotAllowed
    from trainshed.domain.people import Right

    shed.owner = Principal(shed.owner.account_id, shed.owner.user_id, Right.READ)
    with pytest.raises(NotAllowed):
        shed.create()
