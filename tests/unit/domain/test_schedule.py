"""Which due times fire: by policy, over both changes of the clocks, and after any absence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainshed.domain.cron import next_fires
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.schedule import (
    MAX_CATCH_UP,
    CatchUp,
    Phase,
    Schedule,
    after,
    due_times,
    phase_of,
)
from trainshed.domain.states import JobState

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def make(
    cron: str = "* * * * *", since: datetime = NOON, tz: tzinfo = UTC, **more: object
) -> Schedule:
    one = Schedule(
        "sch_1", "acc_1", None, None, "native", "one", cron, "UTC", JobSpec(command=("true",)),
        since, since,
    )  # fmt: skip
    return after(replace(one, **more), tz, since)  # type: ignore[arg-type]


def walk(one: Schedule, tz: tzinfo, until: datetime, step: timedelta) -> list[datetime]:
    """What fires when somebody looks every ``step``."""
    now, fired = one.created_at, []
    while now <= until:
        dues = due_times(one, tz, now)
        fired += dues[:1]
        later = after(one, tz, now) if len(dues) < 2 else replace(one, next_due=dues[1])
        one = later if one.next_due and one.next_due <= now else one
        now += step
    return fired


def test_nothing_is_due_before_its_time_and_then_it_is() -> None:
    one = make("30 14 * * *")
    assert due_times(one, UTC, NOON) == []
    assert due_times(one, UTC, NOON + timedelta(hours=2, minutes=29, seconds=59)) == []
    assert due_times(one, UTC, NOON + timedelta(hours=2.5)) == [NOON + timedelta(hours=2.5)]


def test_spring_gap_and_autumn_fold_fire_each_day_once() -> None:
    for start in (datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)):
        one = make("30 2 * * *", start, BERLIN)
        fired = walk(one, BERLIN, start + timedelta(days=5), timedelta(minutes=7))
        assert len(fired) == len(set(fired)) == 5
        assert fired == next_fires("30 2 * * *", BERLIN, start, 5)


def test_a_minute_fires_once_each_also_in_the_repeated_hour() -> None:
    start = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    fired = walk(make(since=start), BERLIN, start + timedelta(hours=3), timedelta(seconds=20))
    assert fired == [start + timedelta(minutes=n) for n in range(1, 181)]


@pytest.mark.parametrize(
    ("policy", "expected"), [(CatchUp.SKIP, 0), (CatchUp.ONE, 1), (CatchUp.ALL, 24)]
)
def test_missed_fires_follow_the_policy(policy: CatchUp, expected: int) -> None:
    one = make("0 * * * *", catch_up=policy)
    dues = due_times(one, UTC, NOON + timedelta(hours=24, minutes=30))
    assert len(dues) == expected
    assert dues == sorted(dues)
    if dues:
        assert dues[-1] == NOON + timedelta(hours=24)


def test_on_time_fires_whatever_the_policy() -> None:
    for policy in CatchUp:
        one = make("0 * * * *", catch_up=policy)
        assert len(due_times(one, UTC, NOON + timedelta(hours=1, seconds=2))) == 1


def test_years_away_are_looked_through_in_no_time_and_bounded() -> None:
    now = NOON + timedelta(days=3650, seconds=30)
    (only,) = due_times(make(), UTC, now)
    assert only == now - timedelta(seconds=30)
    many = due_times(make(catch_up=CatchUp.ALL), UTC, now)
    assert len(many) == MAX_CATCH_UP
    assert many[-1] == only
    (rare,) = due_times(make("0 0 29 2 *"), UTC, datetime(2031, 1, 1, tzinfo=UTC))
    assert rare == datetime(2028, 2, 29, tzinfo=UTC)


def test_a_paused_one_is_never_due() -> None:
    one = make(paused_at=NOON)
    assert one.next_due is None
    assert due_times(one, UTC, NOON + timedelta(days=9)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 3 * * SUN"]),
    st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001
    st.integers(1, 60 * 24 * 40),
)
def test_the_newest_missed_fire_is_the_last_of_the_list(
    cron: str, tz: tzinfo, naive: datetime, minutes: int
) -> None:
    start = naive.replace(tzinfo=UTC)
    now = start + timedelta(minutes=minutes)
    one = make(cron, start, tz)
    every: list[datetime] = []
    while fires := [
        f for f in next_fires(cron, tz, every[-1] if every else start, 500) if f <= now
    ]:
        every += fires
    assert due_times(one, tz, now) == every[-1:]


def test_phase_follows_the_newest_job_and_keeps_its_outcome() -> None:
    one = make()
    spec = JobSpec(command=("true",))
    job = Job("job_1", "acc_1", None, "native", "one", spec, "local-cpu", NOON)
    assert phase_of(one, None) is Phase.WAITING
    assert phase_of(one, job) is Phase.QUEUED
    assert phase_of(one, replace(job, retries_used=1)) is Phase.RETRYING
    for state in JobState:
        assert phase_of(one, replace(job, state=state)) in Phase
    assert phase_of(one, replace(job, state=JobState.SUCCEEDED)) is Phase.SUCCEEDED
    assert phase_of(replace(one, last_error="no credits"), job) is Phase.FAILED
