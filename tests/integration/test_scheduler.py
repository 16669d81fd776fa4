"""The dispatcher on a store of each engine: nobody hidden, evictions, drains, one of several."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.store.make import add, job
from tests.support.engine import make_engine, principal_with_credits
from tests.support.shed import CREDITS, Shed

from trainshed.domain.attempt import Ending
from trainshed.domain.errors import ImpossibleRequest, NotAllowed, NotFound
from trainshed.domain.job import JobSpec
from trainshed.domain.resources import GIB, Resources
from trainshed.ports.deps import Policy
from trainshed.usecases import attempts, control, dispatch, drains, queries, reap
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases
from trainshed.usecases.outlook import queue_outlook
from trainshed.usecases.submit import SubmitJob, plan

SOAK = os.environ.get("TRAINSHED_SOAK") == "1"
GPUS = Resources(1000, GIB, 2, "a100")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    fresh: Callable[[], str] = request.getfixturevalue("pg_server")
    return fresh()


@pytest.fixture
def shed(url: str | None, tmp_path: Path) -> Iterator[Shed]:
    policy = Policy(min_free_bytes=0, preempt_min_run_s=30)
    engine, clock, _ = make_engine(tmp_path, url, policy)
    who = principal_with_credits(engine, CREDITS)
    yield Shed(engine, clock, replace(who, operator=True))
    broken = engine.deps.store.verify()
    engine.deps.store.close()
    assert broken == []


def test_a_gpu_type_with_a_price_waits_and_one_without_is_refused(shed: Shed) -> None:
    one = shed.submit(resources=GPUS)
    assert shed.round() == []
    wait = shed.view(one).wait
    assert wait is not None
    assert (wait.code, wait.fix) == (
        "no_machine", "Connect a machine with 2 × a100, or ask for no GPU.",
    )  # fmt: skip
    for wrong in (replace(GPUS, gpu_type="h900"), replace(GPUS, millicpus=64_000)):
        with pytest.raises(ImpossibleRequest) as caught:
            shed.submit(resources=wrong)
        assert caught.value.extra["largest"]


def test_a_thousand_that_fit_nowhere_hide_nobody(shed: Shed) -> None:
    blocked = JobSpec(command=("x",), priority=9, resources=GPUS)
    account = shed.who.account_id
    add(
        shed.engine.deps.store,
        *(job(10**6 + n, account, blocked, pool="a100") for n in range(1000)),
    )
    low = shed.submit(priority=-5)
    assert shed.round() == [low]


def test_a_low_priority_ages_behind_its_own_accounts_stream(shed: Shed) -> None:
    low = shed.submit(2000, priority=0)
    started = False
    for minute in range(40):
        for _ in range(80 if minute == 0 else 1):
            shed.submit(2000, priority=10)
        for job_id in shed.round():
            started = started or job_id == low
            shed.start(job_id)
            one = shed.live(job_id)
            assert one is not None
            attempts.finish(shed.engine, one.id, Ending("exited", 0, runtime_ms=60_000))
        shed.clock.advance(60)
        if started:
            break
    assert started
    assert minute == 10


def test_a_round_looks_at_few_however_long_the_queue(shed: Shed) -> None:
    """The time is printed, not asserted; what is asserted is how little is looked at."""
    n, store, account = 100_000 if SOAK else 3_000, shed.engine.deps.store, shed.who.account_id
    sizes = [Resources(500 + 250 * (i % 4)) for i in range(4)] + [GPUS]
    for at in range(0, n, 1000):
        made = [
            job(i, account, JobSpec(command=("x",), priority=i % 3, resources=sizes[i % 5]))
            for i in range(at, at + 1000)
        ]
        store.write(lambda tx, made=made: [tx.jobs.insert(one, None) for one in made] and None)
    from trainshed.usecases.capacity import PER_FULL_LANE, PER_LANE, offers_of, snapshot

    reading = snapshot(shed.engine.deps, offers_of(shed.engine.deps), shed.clock.utc_now(), {})
    began = time.perf_counter()
    seen = store.read(reading)
    middle = time.perf_counter()
    placed = dispatch.lease(shed.engine)
    print(
        f"{n} queued: snapshot {1e3 * (middle - began):.1f} ms,"
        f" whole round {1e3 * (time.perf_counter() - middle):.1f} ms"
    )
    assert len(seen.candidates) == 12 * PER_LANE + 3 * PER_FULL_LANE
    assert placed
    store.write(lambda tx: _end_all(tx, made))


def _end_all(tx, made) -> None:  # type: ignore[no-untyped-def]
    """These Jobs have no holds: take them out of what ``verify`` looks at."""
    link = tx.jobs._link
    link.run("DELETE FROM events WHERE attempt_id IS NOT NULL")
    link.run("DELETE FROM attempts")
    link.run("DELETE FROM jobs")


def test_more_lanes_than_a_round_looks_at_take_turns(
    shed: Shed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainshed.usecases.capacity.LANES", 4)
    for n in range(12):
        shed.submit(priority=20 - n, resources=replace(GPUS, millicpus=500 + n))
    low = shed.submit(priority=-5)
    rounds = [shed.round() for _ in range(4)]
    assert [low] in rounds


def test_a_higher_priority_evicts_and_both_end_well(shed: Shed) -> None:
    cheap, dear = shed.submit(priority=0), shed.submit(priority=0)
    assert set(shed.round()) == {cheap, dear}
    for one in (cheap, dear):
        shed.start(one)
    shed.clock.advance(20)
    high = shed.submit(priority=5)
    assert shed.round() == []
    assert not shed.live(cheap).order  # type: ignore[union-attr]  # the minimum run
    shed.clock.advance(80)
    shed.save(cheap, 90)
    before = shed.view(cheap)
    assert shed.round() == []
    assert shed.live(cheap).order == "preempt"  # type: ignore[union-attr]
    assert shed.live(dear).order is None  # type: ignore[union-attr]
    shed.clock.advance(5)
    assert shed.round() == []
    assert shed.live(dear).order is None  # type: ignore[union-attr]
    left = shed.leave(cheap, 105)
    assert str(left.state) == "QUEUED"
    view = shed.view(cheap)
    assert (view.evicted, view.resuming) == (True, False)
    ended = view.attempts[-1]
    assert (str(ended.state), str(ended.reason)) == ("EVICTED", "preempted")
    assert (ended.billable_ms, view.captured_ucredits) == (90_000, 25_000)
    assert view.held_ucredits == before.held_ucredits - 25_000
    assert shed.round() == [high]
    shed.start(high)
    assert shed.round() == []
    attempts.finish(
        shed.engine,
        shed.live(high).id,
        Ending("exited", 0, runtime_ms=1000),  # type: ignore[union-attr]
    )
    assert shed.round() == [cheap]
    assert shed.view(cheap).resuming
    again = shed.start(cheap)
    assert (again.number, again.resumed_step) == (2, 7)
    assert not shed.view(cheap).resuming
    shed.clock.advance(10)
    attempts.finish(shed.engine, again.id, Ending("exited", 0, runtime_ms=10_000))
    paid = queries.receipt(shed.engine.deps, shed.who, cheap)
    assert (paid.lost_s, paid.useful_s, paid.n_attempts) == (15, 100, 2)
    assert paid.released_ucredits == paid.held_ucredits - paid.captured_ucredits
    assert shed.kinds(cheap) == [
        "job.queued", "job.starting", "job.running", "job.evicting", "job.evicted", "job.starting",
        "job.resuming", "job.running", "job.succeeded",
    ]  # fmt: skip


def test_the_same_checkpoint_again_covers_no_more_time(shed: Shed) -> None:
    one = shed.submit()
    shed.round()
    shed.start(one)
    shed.clock.advance(50)
    first = shed.save(one, 10)
    draft = replace(first, id=shed.engine.deps.ids.new("artifact"))
    again = attempts.collect(shed.engine, shed.live(one).id, draft, 50_000)  # type: ignore[union-attr]
    assert again.id == first.id
    assert shed.live(one).checkpoint_ms == 10_000  # type: ignore[union-attr]


def test_preemption_can_be_off(url: str | None, tmp_path: Path) -> None:
    policy = Policy(min_free_bytes=0, preemption="off", preempt_min_run_s=0)
    engine, clock, _ = make_engine(tmp_path, url, policy)
    shed = Shed(engine, clock, principal_with_credits(engine, CREDITS))
    low = shed.submit(2000)
    shed.round()
    shed.start(low)
    shed.submit(2000, priority=9)
    shed.round()
    assert shed.live(low).order is None  # type: ignore[union-attr]
    engine.deps.store.close()


def test_a_pause_or_cancel_beside_an_eviction_wins_its_right(shed: Shed) -> None:
    for act, state in ((control.pause, "PAUSED"), (control.cancel, "CANCELLED")):
        low = shed.submit(2000)
        assert shed.round() == [low]
        shed.start(low)
        shed.clock.advance(60)
        high = shed.submit(2000, priority=9)
        shed.round()
        assert shed.live(low).order == "preempt"  # type: ignore[union-attr]
        act(shed.engine.deps, shed.who, low)
        ending = Ending("exited", 0, stopped_by="preempt", runtime_ms=60_000)
        done = attempts.finish(shed.engine, shed.live(low).id, ending)  # type: ignore[union-attr]
        assert str(done.state) == state
        assert shed.round() == [high]
        shed.start(high)
        ended = Ending("exited", 0, runtime_ms=1)
        attempts.finish(shed.engine, shed.live(high).id, ended)  # type: ignore[union-attr]


def test_a_drain_moves_on_what_runs_and_survives_a_restart(shed: Shed) -> None:
    one = shed.submit()
    shed.round()
    shed.start(one)
    shed.clock.advance(1)
    deps = shed.engine.deps
    assert drains.drain(deps, shed.who, "local").drained_at == shed.clock.utc_now()
    shed.clock.advance(1)
    drains.drain(deps, shed.who, "local")
    shed.engine = Engine(deps, Leases(deps.policy.lease))
    reap.take_over(shed.engine)
    assert shed.round() == []
    assert shed.live(one).order == "drain"  # type: ignore[union-attr]
    shed.leave(one, 1)
    assert shed.round() == []
    view = shed.view(one)
    assert view.wait is not None
    assert (view.wait.code, view.evicted) == ("drained", True)
    assert str(view.attempts[-1].reason) == "drained"
    assert view.captured_ucredits == 0
    assert queries.offers(deps)[0].drained_at is not None
    assert drains.undrain(deps, shed.who, "local").drained_at is None
    assert shed.round() == [one]
    with pytest.raises(NotFound):
        drains.drain(deps, shed.who, "nothing")
    with pytest.raises(NotAllowed):
        drains.drain(deps, replace(shed.who, operator=False), "local")
    lines = deps.store.read(lambda tx: tx.records.audit_page(shed.who.account_id, None, 9))
    assert [a.action for a in lines][:3] == ["offer.undrain", "offer.drain", "offer.drain"]


def test_the_outlook_of_a_job_and_of_a_plan(shed: Shed) -> None:
    now, hour = shed.clock.utc_now(), timedelta(hours=1)
    first = shed.submit(2000, max_runtime_s=3600)
    shed.round()
    shed.start(first)
    second = shed.submit(1000, max_runtime_s=7200)
    third = shed.submit(2000, max_runtime_s=60)
    never = shed.submit(resources=GPUS)
    deps = shed.engine.deps

    def look(job_id: str) -> tuple[int, object]:
        found = queue_outlook(deps, shed.view(job_id).job)
        return found.position, found.starts_at

    assert look(first) == (0, None)
    assert look(second) == (1, now + hour)
    assert look(third) == (2, now + 3 * hour)
    assert look(never) == (3, None)
    body = JobSpec(command=("x",), resources=Resources(2000), max_runtime_s=60)
    planned = plan(deps, SubmitJob(shed.who, "job", body, {})).outlook
    assert (planned.position, planned.starts_at) == (4, now + 3 * hour + timedelta(seconds=60))
    control.pause(deps, shed.who, second)
    assert look(second) == (0, None)
    assert look(third) == (1, now + hour)
