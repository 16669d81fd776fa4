"""Several servers on one PostgreSQL: one dispatcher at a time, and nothing is placed twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.engine import make_engine, principal_with_credits
from tests.support.shed import CREDITS, Shed

from trainshed.domain.errors import StaleLease
from trainshed.domain.resources import GIB
from trainshed.testing.fakes import FakeExecutor
from trainshed.usecases import heartbeats, office, reap
from trainshed.usecases.engine import Engine, Seat


def test_two_servers_on_one_database_place_each_job_once(
    pg_server: Callable[[], str], tmp_path: Path
) -> None:
    first, second = sheds = _two_servers(tmp_path, pg_server())
    clock = first.clock
    one, two = first.submit(), first.submit()
    assert set(first.round()) == {one, two}
    third = first.submit()
    assert second.round() == []
    term = office.lead(first.engine)
    clock.advance(office.TTL_S + 1)
    assert second.round() == [third]
    # The first had decided, was stopped, and goes on: what it decided is void.
    assert not first.engine.deps.store.write(lambda tx: office.still(tx, first.engine, term))
    fourth = first.submit()
    assert first.round() == []
    clock.advance(office.TTL_S + 1)
    assert first.round() == [fourth]
    assert office.lead(first.engine) == term + 2
    fifth = first.submit()
    office.leave(first.engine)
    assert second.round() == [fifth]
    live = first.engine.deps.store.read(lambda tx: tx.attempts.live())
    assert len({a.job_id for a in live}) == len(live) == 5
    assert first.engine.deps.store.verify() == []
    for shed in sheds:
        shed.engine.deps.store.close()


def test_two_servers_at_once_never_place_twice_or_too_much(
    pg_server: Callable[[], str], tmp_path: Path
) -> None:
    sheds = _two_servers(tmp_path, pg_server())
    for _ in range(40):
        sheds[0].submit()
    stop = time.monotonic() + 2

    def serve(shed: Shed) -> list[str]:
        placed = []
        while time.monotonic() < stop:
            shed.engine.seat.good_until = 0.0
            placed += shed.round()
            office.leave(shed.engine)
        return placed

    with ThreadPoolExecutor(2) as both:
        placed = [job for done in both.map(serve, sheds) for job in done]
    assert len(placed) == len(set(placed)) == 8
    assert sheds[0].engine.deps.store.verify() == []
    for shed in sheds:
        shed.engine.deps.store.close()


def _two_servers(folder: Path, url: str) -> list[Shed]:
    """Two engines on one database, with one clock, as on one machine; 8 CPUs."""
    (one, clock, _), (two, _, _) = (make_engine(folder / name, url) for name in ("one", "two"))
    who = principal_with_credits(one, CREDITS)
    machine = FakeExecutor(8000, 64 * GIB)
    sheds = []
    for name, engine in (("one", one), ("two", two)):
        deps = replace(engine.deps, clock=clock, ids=one.deps.ids, executors={"process": machine})
        sheds.append(Shed(Engine(deps, engine.leases, Seat(name)), clock, who))
    return sheds


def test_a_lease_renewed_through_another_server_is_not_reaped(
    pg_server: Callable[[], str], tmp_path: Path
) -> None:
    shed, other = _two_servers(tmp_path, pg_server())
    one, two, clock = shed.engine, other.engine, shed.clock
    job_id = shed.submit()
    shed.round()
    attempt = shed.start(job_id)
    for _ in range(4):
        clock.advance(20)
        assert heartbeats.heartbeat(two, attempt.id) is None
        reap.flush(two)
        assert reap.look(one) == 0
    assert shed.live(job_id) is not None
    clock.advance(60)
    assert reap.look(one) == 1
    with pytest.raises(StaleLease):
        heartbeats.heartbeat(two, attempt.id)
    for engine in (one, two):
        engine.deps.store.close()
