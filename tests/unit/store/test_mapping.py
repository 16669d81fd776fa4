"""Rows and values are the same thing twice: nothing is lost on the way there and back."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Attempt
from trainshed.domain.events import Event
from trainshed.domain.job import Environment, InputRef, Job, JobSpec, Network
from trainshed.domain.ledger import Entry, Hold, HoldState, Unit
from trainshed.domain.people import Account, Key, Session, User
from trainshed.domain.resources import Resources
from trainshed.domain.retry import RetryPolicy
from trainshed.domain.states import AttemptState, Intent, JobState, Reason
from trainshed.ports.records import Remembered
from trainshed.ports.store import Upload
from trainshed.ports.streams import Point
from trainshed.store import mapping, packing, tables

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ints = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
jsons = st.recursive(
    st.none() | st.booleans() | ints | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, jsons, max_size=4)
maybe_text, maybe_int, maybe_time = st.none() | texts, st.none() | ints, st.none() | moments
words = st.lists(texts, max_size=4).map(tuple)
blobs = st.builds(BlobRef, texts, texts, ints)
specs = st.builds(
    JobSpec,
    workload=texts,
    params=objects,
    command=words,
    inputs=st.lists(st.builds(InputRef, texts, texts, texts, st.booleans()), max_size=2).map(tuple),
    env_names=words,
    environment=st.builds(Environment, texts, texts),
    resources=st.builds(Resources, ints, ints, ints, maybe_text),
    max_runtime_s=ints,
    retry=st.builds(RetryPolicy, ints, st.floats(0, 1e6), st.floats(0, 1e6)),
    priority=st.integers(-1000, 1000),
    network=st.sampled_from(Network),
    labels=st.dictionaries(texts, texts, max_size=3),
    grace_s=st.floats(0, 600),
    checkpoint_path=texts,
    resume_flag=texts,
)
jobs = st.builds(
    Job, texts, texts, maybe_text, texts, texts, specs, texts, moments, st.sampled_from(JobState),
    st.sampled_from(Intent), st.none() | st.sampled_from(JobState),
    st.none() | st.sampled_from(Reason), texts, maybe_time, maybe_time, maybe_time, maybe_text,
    ints, ints, ints, maybe_time, maybe_text,
)  # fmt: skip
attempts = st.builds(
    Attempt, texts, texts, texts, ints, ints, texts, texts, texts, ints, ints, moments, words,
    ints, st.sampled_from(AttemptState), st.none() | st.sampled_from(Reason), texts, maybe_text,
    maybe_text, objects, maybe_time, maybe_time, maybe_time, maybe_int, maybe_int, ints, ints,
    ints, maybe_text, maybe_int, texts, texts,
)  # fmt: skip


@given(jobs)
def test_job(job: Job) -> None:
    row = mapping.job_row(job)
    assert len(row) == len(tables.jobs.columns)
    assert mapping.job_from(row) == job
    names = [c.name for c in tables.jobs.columns]
    changes = dict(zip(mapping.JOB_MUTABLE, mapping.job_changes(job), strict=True))
    assert changes == {n: row[names.index(n)] for n in changes}


@given(attempts)
def test_attempt(attempt: Attempt) -> None:
    row = mapping.attempt_row(attempt)
    assert mapping.attempt_from(row) == attempt
    names = [c.name for c in tables.attempts.columns]
    changes = dict(zip(mapping.ATTEMPT_MUTABLE, mapping.attempt_changes(attempt), strict=True))
    assert changes == {n: row[names.index(n)] for n in changes}


@given(
    st.builds(Event, texts, texts, moments, maybe_text, maybe_text, objects, ints),
    st.builds(Entry, texts, texts, ints, st.sampled_from(Unit), texts, moments, maybe_text,
              maybe_text, texts),
    st.builds(Hold, texts, texts, texts, st.sampled_from(Unit), ints, st.sampled_from(HoldState),
              moments, ints, maybe_time),
    ints,
)  # fmt: skip
def test_events_and_money(event: Event, entry: Entry, hold: Hold, number: int) -> None:
    assert mapping.event_from((event.seq, *mapping.event_row(event))) == event
    assert mapping.entry_from((number, *mapping.entry_row(entry, number))) == (
        number, number, entry,
    )  # fmt: skip
    assert mapping.hold_from(mapping.hold_row(hold)) == hold


@given(
    st.builds(Account, texts, texts, moments, maybe_time, st.floats(0, 100), maybe_int, texts),
    st.builds(User, texts, texts, texts, texts, texts, st.booleans(), moments, maybe_time),
    st.builds(Key, texts, texts, texts, texts, texts, texts, texts, words, moments, maybe_time,
              maybe_int, maybe_time, maybe_time),
    st.builds(Session, texts, texts, texts, texts, moments, moments, maybe_time),
)  # fmt: skip
def test_people(account: Account, user: User, key: Key, session: Session) -> None:
    assert mapping.account_from(mapping.account_row(account)) == account
    assert mapping.user_from(mapping.user_row(user)) == user
    assert mapping.key_from(mapping.key_row(key)) == key
    assert mapping.session_from(mapping.session_row(session)) == session


@given(
    st.builds(Upload, texts, texts, texts, ints, moments, st.none() | blobs, maybe_time),
    st.builds(Artifact, texts, texts, texts, texts, st.sampled_from(ArtifactKind), texts,
              st.lists(st.builds(FileRef, texts, blobs, st.booleans()), max_size=3).map(tuple),
              moments, maybe_int, st.booleans()),
    st.builds(Remembered, texts, texts, texts, ints, st.binary(max_size=9), moments),
)  # fmt: skip
def test_files_and_records(upload: Upload, artifact: Artifact, entry: Remembered) -> None:
    assert mapping.upload_from(mapping.upload_row(upload)) == upload
    files = mapping.artifact_file_rows(artifact)
    assert mapping.artifact_from(mapping.artifact_row(artifact), files) == artifact
    assert mapping.remembered_from(mapping.remembered_row(entry)) == entry


@given(st.lists(st.builds(Point, st.sampled_from("abc"), ints, ints, st.floats()), max_size=30))
def test_points(points: list[Point]) -> None:
    rows, newest = packing.pack("att", 7, points)
    by_key: dict[str, list[Point]] = {p.key: [] for p in points}
    for point in points:
        by_key[point.key].append(point)
    assert [r[1] for r in rows] == list(by_key)
    for row, last in zip(rows, newest, strict=True):
        group = by_key[row[1]]
        back = packing.unpack(row[1], row[6])
        assert list(map(_bits, back)) == list(map(_bits, group))
        assert row[2:6] == (7, len(group), min(p.step for p in group), max(p.step for p in group))
        due = [p for p in group if p.step == row[5]][-1]
        assert _bits(Point(row[1], last[2], last[3], packing.number(last[4]))) == _bits(due)


def _bits(point: Point) -> Any:
    value = "nan" if math.isnan(point.value) else (point.value, math.copysign(1, point.value))
    return point.key, point.step, point.at_ms, value


@given(moments)
def test_times_are_whole_microseconds(at: datetime) -> None:
    assert mapping.moment(mapping.micros(at)) == at
    with pytest.raises(TypeError):
        mapping.micros(at.replace(tzinfo=None))


@given(st.text(max_size=20))
def test_free_text_can_always_be_kept(text: str) -> None:
    kept = mapping.clean(text)
    assert "\0" not in kept
    kept.encode()
    assert mapping.clean(kept) == kept
    if not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        assert kept == text


def test_no_mutable_field_is_forgotten() -> None:
    """Every field of a Job or Attempt is either written by ``save`` or known never to change."""
    fixed_job = {"id", "account_id", "user_id", "dialect", "spec", "pool", "created_at",
                 "retry_of", "key_id"}  # fmt: skip
    assert {f.name for f in fields(Job)} - fixed_job == set(mapping.JOB_MUTABLE) - {"rank", "lane"}
    fixed = {"id", "job_id", "account_id", "number", "token", "offer_id", "executor", "pool",
             "millicpus", "memory_bytes", "leased_at", "devices", "slot", "runner_token_hash",
             "job_token_hash", "order"}  # fmt: skip
    assert {f.name for f in fields(Attempt)} - fixed == set(mapping.ATTEMPT_MUTABLE) - {
        "order_sent"
    }
