"""Middleman's words ↔ the core's: every state has one, closed sets stay closed, nothing leaks."""

from __future__ import annotations

import itertools
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trainshed.dialects.middleman import schema, translate
from trainshed.domain.attempt import Attempt
from trainshed.domain.environment import Environment
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.people import Principal, Right
from trainshed.domain.resources import Resources
from trainshed.domain.states import LIVE, AttemptState, Intent, JobState, Reason
from trainshed.ports.streams import Point
from trainshed.ports.views import JobView
from trainshed.usecases.lines import Line, plain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = typing.get_args(schema.Status)
GPU = Resources(1000, 2**30, 2, "a100")


def view(state: JobState = JobState.QUEUED, *attempts: Attempt, **changes: object) -> JobView:
    spec = JobSpec(command=("python", "train.py"), resources=GPU, max_runtime_s=3601)
    job = Job("job_" + "1" * 32, "acc", None, "middleman", "n", spec, "a100", NOW, state=state)
    return JobView(replace(job, **changes), attempts)  # type: ignore[arg-type]


def tried(number: int, state: AttemptState, reason: Reason | None = None) -> Attempt:
    return Attempt(
        f"att_{number}", "job", "acc", number, number, "o", "process", "a100", 1000, 1, NOW,
        state=state, reason=reason,
    )  # fmt: skip


PAUSED = tried(1, AttemptState.EVICTED, Reason.PAUSED)
PREEMPTED = tried(1, AttemptState.EVICTED, Reason.PREEMPTED)


def test_every_job_state_is_settled_or_looked_at_by_attempt() -> None:
    moving = {JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING}
    assert set(translate.SETTLED) == set(JobState) - moving
    assert set(translate.LIVE) == set(LIVE)


def test_the_statuses_are_the_clients_closed_set() -> None:
    said = {*translate.SETTLED.values(), "queued", "evicted", "resuming"}
    said |= {word for pair in translate.LIVE.values() for word in pair}
    assert said == set(WORDS) == set(translate.STATUSES)
    assert set(WORDS) > translate.SHARED


def test_every_combination_has_a_word() -> None:
    tries = [None, *itertools.product(AttemptState, [None, *Reason])]
    for state, attempt, intent in itertools.product(JobState, tries, Intent):
        attempts = () if attempt is None else (tried(1, *attempt),)
        assert translate.status(view(state, *attempts, intent=intent)) in WORDS


@pytest.mark.parametrize(
    ("state", "attempts", "intent", "word"),
    [
        (JobState.QUEUED, (), Intent.RUN, "queued"),
        (JobState.QUEUED, (tried(1, AttemptState.LEASED),), Intent.RUN, "provisioning"),
        (JobState.QUEUED, (tried(1, AttemptState.STARTING),), Intent.RUN, "provisioning"),
        (JobState.RUNNING, (tried(1, AttemptState.RUNNING),), Intent.RUN, "running"),
        (JobState.RUNNING, (tried(1, AttemptState.CHECKPOINTING),), Intent.RUN, "checkpointing"),
        (JobState.RUNNING, (tried(1, AttemptState.RUNNING),), Intent.PAUSE, "checkpointing"),
        (JobState.PAUSED, (PAUSED,), Intent.PAUSE, "paused"),
        (JobState.QUEUED, (PAUSED,), Intent.RUN, "resuming"),
        (JobState.QUEUED, (PREEMPTED,), Intent.RUN, "evicted"),
        (JobState.QUEUED, (tried(1, AttemptState.LOST, Reason.LOST),), Intent.RUN, "evicted"),
        (JobState.QUEUED, (tried(2, AttemptState.STARTING),), Intent.RUN, "resuming"),
        (JobState.CANCELLING, (tried(1, AttemptState.RUNNING),), Intent.CANCEL, "running"),
        (JobState.SUCCEEDED, (tried(1, AttemptState.SUCCEEDED),), Intent.RUN, "completed"),
    ],
)  # fmt: skip
def test_status(state: JobState, attempts: tuple[Attempt, ...], intent: Intent, word: str) -> None:
    assert translate.status(view(state, *attempts, intent=intent)) == word


def test_ids_are_plain_uuids_and_found_by_their_beginnings() -> None:
    core = "job_0123456789abcdef0123456789abcdef"
    public = translate.public_id(core)
    assert public == "01234567-89ab-cdef-0123-456789abcdef"
    assert translate.id_prefix("job", public) == translate.id_prefix("job", core) == core
    assert translate.id_prefix("job", "01234567") == "job_01234567"
    assert translate.id_prefix("job", " 01234567-89AB ") == "job_0123456789ab"


@pytest.mark.parametrize(
    "bad", ["", "0123456", "x" * 8, "0" * 33, "../jobs", "job_", "%00", "₀" * 8]
)
def test_what_is_no_id_names_nothing(bad: str) -> None:
    with pytest.raises(NotFound):
        translate.id_prefix("job", bad)


def command(**given: object):  # type: ignore[no-untyped-def]
    body = schema.JobBody.model_validate({"script_path": "/scripts/train.py", **given})
    who = Principal("acc", "usr", Right.WRITE)
    paths = translate.Paths("train.py", "data", ())
    return translate.to_command(body, who, paths, GPU, None)


def test_both_spellings_make_the_same_job() -> None:
    one = command(environment_variables={"A": "1"}, max_runtime_hours=8)
    two = command(environment={"A": 1}, max_runtime_hours=8)
    assert one == two
    assert one.spec.command == ("python", "train.py")
    assert one.spec.max_runtime_s == 8 * 3600
    assert one.name == "train"
    assert dict(one.env) == {"A": "1", "CHECKPOINT_FREQUENCY": "10", "INPUT_DATA_PATH": "data"}
    assert command(environment={"INPUT_DATA_PATH": "mine"}).env["INPUT_DATA_PATH"] == "mine"
    assert command(environment={"FAST": True}).env["FAST"] == "true"


def test_what_was_written_comes_back() -> None:
    made = command(
        input_data_path="/data/set", requirements_file="r.txt", checkpoint_frequency=3,
        framework="JAX",
    )  # fmt: skip
    spec = replace(made.spec, env_names=("A", "CHECKPOINT_FREQUENCY"))
    shown = translate.to_job(view(spec=spec), True, NOW)
    assert (shown.script_path, shown.input_data_path) == ("/scripts/train.py", "/data/set")
    assert (shown.requirements_file, shown.checkpoint_frequency) == ("r.txt", 3)
    assert (shown.framework, shown.environment_variables) == ("jax", {"A": "***"})


def test_gpus_are_a_closed_set() -> None:
    asked = ("t4", "V100", "a100-80GB")
    found = [translate.gpu_of(schema.JobBody(gpu_type=one)) for one in asked]
    assert found == ["t4", "v100", "a100"]
    for wrong in ("h100", "A10", "x"):
        with pytest.raises(InvalidInput, match="t4, v100, a100"):
            translate.gpu_of(schema.JobBody(gpu_type=wrong))


def test_frameworks_are_a_closed_set_for_clients_that_need_one() -> None:
    spec = replace(view().job.spec, environment=Environment())
    custom = view(spec=spec)
    assert translate.to_job(custom, True, NOW).framework == "pytorch"
    assert translate.to_job(custom, True, NOW).framework_requested == "custom"
    assert translate.to_job(custom, False, NOW).framework == "custom"
    with pytest.raises(InvalidInput, match="pytorch, tensorflow, jax, custom"):
        command(framework="mxnet")


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpu_count": 0}, {"gpu_count": 9}, {"gpu_count": "2"}, {"gpu_count": True},
        {"max_runtime_hours": 0}, {"max_runtime_hours": 73}, {"max_runtime_hours": 1.5},
        {"checkpoint_frequency": 0}, {"name": ""}, {"name": "x" * 201},
        {"environment": {"": "x"}}, {"environment": {"A": None}}, {"environment": []},
        {"script_path": "x" * 1025}, {"owner": "me"},
    ],
)  # fmt: skip
def test_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        schema.JobBody.model_validate({"script_path": "a.py", **wrong})


def test_progress_is_what_was_reported() -> None:
    def shown(**latest: float) -> schema.Job:
        points = {k: Point(k, 0, 0, v) for k, v in latest.items()}
        return translate.to_job(replace(view(), latest=points), True, NOW)

    assert (shown().current_epoch, shown().total_epochs, shown().current_loss) == (0, None, None)
    one = shown(epoch=2.0, epoch_total=5.0, loss=0.25)
    assert (one.current_epoch, one.total_epochs, one.current_loss) == (2, 5, 0.25)
    odd = shown(epoch=float("inf"), epochs=-1.0, loss=float("nan"), train_loss=1.5)
    assert (odd.current_epoch, odd.total_epochs, odd.current_loss) == (0, None, 1.5)


def test_money_and_times_are_whole_and_true() -> None:
    ended = replace(
        tried(1, AttemptState.FAILED, Reason.EXIT_CODE),
        started_at=NOW, ended_at=NOW + timedelta(seconds=2.5),
    )  # fmt: skip
    again = replace(tried(2, AttemptState.RUNNING), started_at=NOW + timedelta(seconds=10))
    one = replace(view(JobState.RUNNING, ended, again), reserved_ucredits=100_000_000)
    shown = translate.to_job(one, True, NOW + timedelta(seconds=20))
    assert shown.duration_seconds == 12.5
    assert (shown.reserved_credits, shown.actual_cost, shown.credits_used) == (100, 0, 0)
    assert shown.max_runtime_hours == 2
    failed = translate.to_job(view(JobState.FAILED, message="It broke."), True, NOW)
    assert failed.error_message == "It broke."
    assert translate.to_job(view(JobState.FAILED, reason=Reason.LOST), True, NOW).error_message


@pytest.mark.parametrize(
    ("stream", "text", "level"),
    [
        ("stdout", "hello", "INFO"), ("stderr", "hello", "WARNING"), ("system", "x", "INFO"),
        ("stdout", "2026 [ERROR] no", "ERROR"), ("stderr", "DEBUG: x", "DEBUG"),
        ("stdout", "WARN a", "WARNING"), ("stderr", "CRITICAL b", "ERROR"),
        ("stdout", "INFORMATION", "INFO"), ("stdout", "x" * 200 + " ERROR", "INFO"),
    ],
)  # fmt: skip
def test_levels(stream: str, text: str, level: str) -> None:
    shown = translate.to_line(Line("1-a-0", NOW, stream, text))
    assert shown.level == level
    assert shown.timestamp == "2026-01-01T00:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"), ("a\tb", "a\tb"), ("10%\r50%\r100%", "100%"), ("done\r", "done"),
        ("\x1b[31mred\x1b[0m", "red"), ("\x1b]0;title\x07x", "x"), ("a\x07\x08b", "ab"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"), ("[/INST]", "[/INST]"), ("", ""),
        ("x\x9b31m", "x31m"),
    ],
)  # fmt: skip
def test_lines_cannot_steer_a_terminal(raw: str, shown: str) -> None:
    assert plain(raw) == shown
