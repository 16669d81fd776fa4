"""Answers and errors: decoded leniently, told precisely."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainshed_client import errors
from trainshed_client.decode import decode
from trainshed_client.errors import BadAnswer, by_code, from_response
from trainshed_client.models import Artifact, Job, Key, Receipt

JOB = {"id": "job_1", "state": "RUNNING", "created_at": "2026-01-01T12:00:00.5Z"}


def test_unknown_fields_are_ignored_and_kept_raw() -> None:
    job = decode(
        Job, {**JOB, "added_in_v9": 1, "attempt": {"id": "a", "number": 1, "state": "x", "n": 2}}
    )
    assert job.raw["added_in_v9"] == 1
    assert job.attempt is not None
    assert job.created_at == datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert not job.ended
    assert "added_in_v9" not in repr(job)


def test_missing_fields_take_defaults_but_not_ids() -> None:
    assert decode(Job, JOB).labels == {}
    with pytest.raises(BadAnswer, match="'id'"):
        decode(Job, {"state": "RUNNING"})


@pytest.mark.parametrize(
    "bad",
    [
        {"id": 5},
        {"created_at": "noon"},
        {"command": "python"},
        {"attempt": []},
        {"n_attempts": "1"},
    ],
)
def test_wrong_types_are_no_answer(bad: dict[str, object]) -> None:
    with pytest.raises(BadAnswer):
        decode(Job, {**JOB, **bad})


def test_lists_and_numbers() -> None:
    found = decode(Artifact, {"id": "a", "files": [{"path": "x", "size_bytes": 1}], "step": None})
    assert found.files[0].path == "x"
    assert decode(Receipt, {"job_id": "j", "state": "FAILED", "queued_s": 3}).queued_s == 3.0


def test_secrets_are_not_in_reprs() -> None:
    assert "hush" not in repr(decode(Key, {"id": "key_1", "secret": "hush"}))


def test_models_are_frozen() -> None:
    with pytest.raises(AttributeError):
        decode(Job, JOB).state = "FAILED"  # type: ignore[misc]


def test_error_by_code_then_by_status() -> None:
    assert type(from_response(409, b'{"code": "illegal_transition"}')) is errors.IllegalTransition
    assert (
        type(from_response(422, b'{"code": "idempotency_conflict"}')) is errors.IdempotencyConflict
    )
    unknown = from_response(402, b'{"code": "spending_frozen", "detail": "no"}')
    assert type(unknown) is errors.PaymentRequired
    assert unknown.code == "spending_frozen"
    assert type(from_response(401, b"")) is errors.NotAuthenticated
    assert type(from_response(418, b"[]")) is errors.BadAnswer
    assert isinstance(from_response(500, b'{"code": "internal"}'), errors.TrainshedError)


def test_every_code_of_the_server_has_its_class() -> None:
    source = Path(__file__).parents[3] / "src/trainshed/domain/errors.py"
    codes = {
        node.value.value
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "code"
        and isinstance(node.value, ast.Constant)
    }
    assert codes
    assert codes <= set(by_code())
