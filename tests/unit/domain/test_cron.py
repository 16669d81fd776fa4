"""Schedules: five fields, each due time once, over both changes of the clocks (G17)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainshed.domain.cron import check, next_fires
from trainshed.domain.errors import InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)  # 01:00 CET; at 01:00 UTC 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)  # 01:00 CEST; at 01:00 UTC 03:00 becomes 02:00


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_spring_a_skipped_time_fires_when_the_gap_ends_and_once() -> None:
    got = next_fires("30 2 * * *", BERLIN, SPRING, 2)
    assert got == [utc("2026-03-29T01:00"), utc("2026-03-30T00:30")]
    several = next_fires("0,30 2,3 * * *", BERLIN, SPRING, 3)
    assert several == [utc("2026-03-29T01:00"), utc("2026-03-29T01:30"), utc("2026-03-30T00:00")]


def test_autumn_a_repeated_time_fires_the_first_time_only() -> None:
    first, following = next_fires("30 2 * * *", BERLIN, AUTUMN, 2)
    assert (first, following) == (utc("2026-10-25T00:30"), utc("2026-10-26T01:30"))
    for minutes in (0, 1, 15, 45, 59):
        second_pass = utc("2026-10-25T01:00") + timedelta(minutes=minutes)
        assert next_fires("30 2 * * *", BERLIN, second_pass, 1) == [following]


def test_a_star_follows_real_time() -> None:
    for start in (SPRING, AUTUMN):
        quarters = next_fires("*/15 * * * *", BERLIN, start, 24)
        assert quarters == [start + timedelta(minutes=15 * (i + 1)) for i in range(24)]
        hours = next_fires("0 * * * *", BERLIN, start, 6)
        assert hours == [start + timedelta(hours=i + 1) for i in range(6)]


def test_local_time_is_kept_over_the_year() -> None:
    fires = next_fires("0 9 * * *", BERLIN, utc("2026-01-01T00:00"), 365)
    assert {f.astimezone(BERLIN).strftime("%H:%M") for f in fires} == {"09:00"}
    assert {f.hour for f in fires} == {7, 8}


@pytest.mark.parametrize("tz", [UTC, BERLIN, ZoneInfo("UTC"), timezone(timedelta(hours=5.5))])
def test_strictly_after(tz: ZoneInfo) -> None:
    at = utc("2026-06-01T10:00")
    (one,) = next_fires("*/5 * * * *", tz, at, 1)
    assert one == at + timedelta(minutes=5)
    (same,) = next_fires("*/5 * * * *", tz, at - timedelta(microseconds=1), 1)
    assert same == at
    assert next_fires("*/5 * * * *", tz, at, 0) == []


def test_after_must_be_aware() -> None:
    with pytest.raises(ValueError, match="aware"):
        next_fires("* * * * *", UTC, datetime(2026, 1, 1), 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    "expression",
    [
        "", "   ", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *",
        "* * 32 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *", "a * * * *",
        "0 0 31 2 *", "0 0 30 FEB *", "1,,2 * * * *", "² * * * *", "-1 * * * *", "* * * * MON#6",
        "* * * * ²L", "0 " * 200, "* * * * *; rm",
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_advice(expression: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(expression)
    assert "minute hour day-of-month month day-of-week" in caught.value.detail
    with pytest.raises(InvalidInput):
        next_fires(expression, UTC, SPRING, 1)


def test_spaces_are_normalised() -> None:
    assert check("  0   9 * *\tmon-fri ") == "0 9 * * mon-fri"


field = st.text("0123456789*,-/L#MONFRI", min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(st.lists(field, min_size=5, max_size=5).map(" ".join))
def test_any_text_is_either_refused_or_fires(expression: str) -> None:
    try:
        check(expression)
    except InvalidInput:
        return
    assert len(next_fires(expression, BERLIN, SPRING, 1)) == 1


minutes = st.sampled_from(["0", "30", "*/20", "0,30", "59", "*"])
hours = st.sampled_from(["*", "1", "2", "2,3", "*/2", "1-3"])


@settings(max_examples=150, deadline=None)
@given(
    minutes,
    hours,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_asking_again_from_each_fire_gives_the_same_walk(
    minute: str, hour: str, zone: str, start: datetime
) -> None:
    """What the scheduler does: no fire twice, none left out, whatever the clocks do."""
    expression, tz = f"{minute} {hour} * * *", ZoneInfo(zone)
    at_once = next_fires(expression, tz, start, 12)
    assert all(a < b for a, b in pairwise(at_once))
    assert at_once[0] > start
    step, one_by_one = start, []
    for _ in range(12):
        (step,) = next_fires(expression, tz, step, 1)
        one_by_one.append(step)
    assert one_by_one == at_once
