"""A Schedule makes Jobs only while whoever made it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.engine import make_engine
from tests.support.timetable import Shed

from trainshed.domain.schedule import FireState


@pytest.fixture(params=["sqlite", "postgresql"])
def shed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shed]:
    url = None
    if request.param == "postgresql":
        fresh: Callable[[], str] = request.getfixturevalue("pg_server")
        url = fresh()
    engine, clock, _ = make_engine(tmp_path, url)
    yield Shed(engine, clock)
    broken = engine.deps.store.verify()
    engine.deps.store.close()
    assert broken == []


def test_who_became_a_viewer_schedules_no_more(shed: Shed) -> None:
    one = shed.create()
    user_id = shed.owner.user_id or ""
    shed.deps.store.write(
        lambda tx: tx.people.save_user(replace(tx.people.get_user(user_id), role="viewer"))
    )
    shed.tick(60)
    assert shed.fires(one)[0].state is FireState.FAILED
