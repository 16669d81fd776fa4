"""Expressions, zones and images that nobody means well: refused, and nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.engine import make_engine
from tests.support.timetable import SPEC, Shed

from trainshed.domain.environment import Environment
from trainshed.domain.errors import InvalidInput
from trainshed.ports.schedules import ScheduleFilter
from trainshed.usecases import schedules


@pytest.fixture
def shed(tmp_path: Path) -> Iterator[Shed]:
    engine, clock, _ = make_engine(tmp_path)
    yield Shed(engine, clock)
    engine.deps.store.close()


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "* * * * * *", "61 * * * *", "* * 30 2 *", "@daily", "a" * 999, "*/0 * * * *",
     "$(reboot) * * * *", "\0 * * * *", "1-5-9 * * * *", "* * * * MON#9"],
)  # fmt: skip
def test_hostile_expressions_are_refused_and_make_nothing(shed: Shed, cron: str) -> None:
    with pytest.raises(InvalidInput):
        shed.create(cron=cron)
    where = ScheduleFilter(shed.owner.account_id)
    assert schedules.listing(shed.deps, where, None, 0, 10) == []


@pytest.mark.parametrize(
    "zone", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "a\0b", "America"]
)
def test_hostile_zones_are_refused(shed: Shed, zone: str) -> None:
    with pytest.raises(InvalidInput):
        shed.create(zone=zone)


@pytest.mark.parametrize("image", ["", "-v/:/host", "a b", "x" * 600, "UPPER/Case:tag!", "$(id)"])
def test_hostile_images_are_refused(shed: Shed, image: str) -> None:
    spec = replace(SPEC, environment=Environment("image", image))
    with pytest.raises(InvalidInput):
        shed.create(spec=spec)
