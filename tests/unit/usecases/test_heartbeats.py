"""A heartbeat beside a long poll touches memory only, and is never the last to learn of the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import World, world
from tests.support.mimaas import engine_of

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import StaleLease
from trainshed.domain.states import AttemptState, Reason
from trainshed.usecases import heartbeats
from trainshed.usecases.engine import Engine


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as one:
        yield one


@pytest.fixture
def attempt(w: World) -> Attempt:
    w.credits(w.admin)
    return w.lease(w.admin, w.submit(w.admin))


@pytest.fixture
def engine(w: World, attempt: Attempt) -> Engine:
    one = engine_of(w)
    one.leases.grant(attempt, w.clock.monotonic(), w.clock.utc_now())
    return one


def save(w: World, attempt: Attempt, **changes: Any) -> None:
    """As another server would."""
    changed = replace(attempt, message="", **changes)
    assert w.deps.store.write(lambda tx: tx.attempts.save_if_held(changed))


def test_only_a_recent_look_at_the_row_spares_one(
    w: World, engine: Engine, attempt: Attempt
) -> None:
    assert not heartbeats.beat(engine, attempt.id)
    assert heartbeats.order_for(engine, attempt.id) is None
    w.clock.advance(heartbeats.LOOKED_S - 1)
    before = engine.leases.get(attempt.id)
    assert before is not None
    renewed = before.renewed
    assert heartbeats.beat(engine, attempt.id)
    assert before.renewed >= renewed + heartbeats.LOOKED_S - 1
    w.clock.advance(1.5)
    assert not heartbeats.beat(engine, attempt.id)
    # a runner that has no long poll is told its order by the heartbeat
    save(w, attempt, order="cancel")
    assert heartbeats.heartbeat(engine, attempt.id) == "cancel"


def test_an_ended_lease_is_not_renewed(w: World, engine: Engine, attempt: Attempt) -> None:
    heartbeats.order_for(engine, attempt.id)
    engine.leases.drop(attempt.id)
    assert not heartbeats.beat(engine, attempt.id)


def test_the_long_poll_notices_what_another_server_ended(
    w: World, engine: Engine, attempt: Attempt
) -> None:
    heartbeats.order_for(engine, attempt.id)
    save(w, attempt, state=AttemptState.LOST, reason=Reason.LOST, ended_at=w.clock.utc_now())
    with pytest.raises(StaleLease):
        heartbeats.order_for(engine, attempt.id)
    w.clock.advance(heartbeats.LOOKED_S + 0.1)
    assert not heartbeats.beat(engine, attempt.id)
    with pytest.raises(StaleLease):
        heartbeats.heartbeat(engine, attempt.id)
