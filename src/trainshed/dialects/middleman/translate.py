"""Jobs in Middleman's words ↔ the domain, both ways, pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from trainshed.dialects.middleman import schema
from trainshed.domain.attempt import Attempt
from trainshed.domain.environment import Environment
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.job import InputRef, JobSpec
from trainshed.domain.ledger import MICRO
from trainshed.domain.people import Principal
from trainshed.domain.resources import Resources
from trainshed.domain.retry import MAX_INFRASTRUCTURE
from trainshed.domain.states import AttemptState, Intent, JobState, Reason
from trainshed.ports.store import JobFilter
from trainshed.ports.streams import Point
from trainshed.ports.views import JobView
from trainshed.usecases.lines import Line
from trainshed.usecases.submit import SubmitJob

DIALECT = "middleman"
MASK = "***"
HOUR_S = 3600

#: What a client may ask for → the pool's GPU type. The A100 of the documents has 80 GB.
GPU_TYPES: Mapping[str, schema.Gpu] = {
    "t4": "t4", "v100": "v100", "a100": "a100", "a100-80gb": "a100",
}  # fmt: skip
#: The closed set that some clients can read; ``custom`` is shown to them as the first.
FRAMEWORKS = ("pytorch", "tensorflow", "jax")
CUSTOM = "custom"

#: The state of a Job that no Attempt can change any more, or that waits for its owner.
SETTLED: Mapping[JobState, schema.Status] = {
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.PAUSED: "paused",
}
#: Else the state of its live Attempt: the first one, and a later one.
LIVE: Mapping[AttemptState, tuple[schema.Status, schema.Status]] = {
    AttemptState.LEASED: ("provisioning", "resuming"),
    AttemptState.STARTING: ("provisioning", "resuming"),
    AttemptState.RUNNING: ("running", "running"),
    AttemptState.CHECKPOINTING: ("checkpointing", "checkpointing"),
}
#: Else why its last Attempt ended; what is not here was its own doing and runs again: resuming.
TAKEN_AWAY = frozenset(
    {Reason.PREEMPTED, Reason.DRAINED, Reason.LOST, Reason.INFRASTRUCTURE}
)  # fmt: skip

#: Where Jobs of a status are to be found. Those of ``SHARED`` have to be looked at one by one;
#: there are never many, since each has begun and none has ended.
STATUSES: Mapping[schema.Status, JobFilter] = {
    "queued": JobFilter(states=("QUEUED",), live=False, begun=False),
    "provisioning": JobFilter(states=("QUEUED",), live=True),
    "running": JobFilter(states=("RUNNING", "CANCELLING")),
    "checkpointing": JobFilter(states=("RUNNING", "CANCELLING")),
    "evicted": JobFilter(states=("QUEUED",), live=False, begun=True),
    "resuming": JobFilter(states=("QUEUED", "CANCELLING"), begun=True),
    "paused": JobFilter(states=("PAUSED",)),
    "completed": JobFilter(states=("SUCCEEDED",)),
    "cancelled": JobFilter(states=("CANCELLED",)),
    "failed": JobFilter(states=("FAILED",)),
}
SHARED = frozenset({"provisioning", "running", "checkpointing", "evicted", "resuming"})

#: What a script finds beside the platform's own variables.
INPUT_DATA_PATH, CHECKPOINT_FREQUENCY = "INPUT_DATA_PATH", "CHECKPOINT_FREQUENCY"
_OWN = frozenset({INPUT_DATA_PATH, CHECKPOINT_FREQUENCY})
_KEPT = "middleman."
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")
_LEVELS = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR"}
_ID = re.compile(r"[0-9a-f]{8,32}\Z")


@dataclass(frozen=True, slots=True)
class Paths:
    """What the paths of a new job were found to be, as inputs in its workspace."""

    script: str
    data: str
    inputs: tuple[InputRef, ...]
    environment: Environment = field(default_factory=Environment)


def public_id(object_id: str) -> str:
    """Return an id as a bare UUID: the core's ids are random UUIDs behind a word (D1)."""
    h = object_id.partition("_")[2]
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_prefix(kind: str, text: str, before: str | None = None) -> str:
    """Return the core's id, or how it begins, of a UUID or at least 8 digits of it; ``before`` is
    what the core's id begins with, if not ``kind``.

    Raises:
        NotFound: it is none, and so names nothing.
    """
    digits = text.strip().lower().removeprefix(f"{before or kind}_").replace("-", "")
    if not _ID.match(digits):
        raise NotFound(f"There is no {kind} with that id.")
    return f"{before or kind}_{digits}"


def gpu_of(body: schema.JobBody) -> schema.Gpu:
    """Return the GPU type. Raises InvalidInput for one that no client of this door could be told
    of.
    """
    found = GPU_TYPES.get(body.gpu_type.lower())
    if found is None:
        raise InvalidInput(
            f"There is no GPU type {body.gpu_type!r} here; there is: {', '.join(GPU_TYPES)}.",
            field="gpu_type",
        )
    return found


def script_of(body: schema.JobBody) -> str:
    """Return the script's path. Raises InvalidInput if none was given."""
    path = body.script_path or body.script
    if not path:
        raise InvalidInput("script_path is required.", field="script_path")
    return path


def to_command(
    body: schema.JobBody, who: Principal, paths: Paths, wants: Resources, once: str | None
) -> SubmitJob:
    """Return the command of a new job.

    Raises:
        InvalidInput: an unknown framework, or an over-long path.
    """
    framework = body.framework.lower()
    if framework not in (*FRAMEWORKS, CUSTOM):
        known = ", ".join((*FRAMEWORKS, CUSTOM))
        raise InvalidInput(
            f"There is no framework {body.framework!r}; there is: {known}.", field="framework"
        )
    given = body.environment_variables or body.environment or {}
    own = {CHECKPOINT_FREQUENCY: str(body.checkpoint_frequency)}
    if paths.data:
        own[INPUT_DATA_PATH] = paths.data
    spec = JobSpec(
        command=("python", paths.script),
        inputs=paths.inputs,
        environment=replace(paths.environment, framework="" if framework == CUSTOM else framework),
        resources=wants,
        max_runtime_s=body.max_runtime_hours * HOUR_S,
        labels=_kept(body),
        checkpoint_every_epochs=body.checkpoint_frequency,
    )
    env = own | {name: _text(value) for name, value in given.items()}
    name = body.name or _stem(script_of(body))
    return SubmitJob(who, name, spec, env, DIALECT, once=once)


def _kept(body: schema.JobBody) -> dict[str, str]:
    """Return what the core has no word for, as labels: shown again as it was written."""
    kept = {
        "script_path": script_of(body),
        "input_data_path": body.input_data_path or "",
    }
    if body.requirements_file or (body.requirements or "").strip():
        kept["requirements_file"] = body.requirements_file or "requirements.txt"
    for name, value in kept.items():
        if len(value.encode("utf-8", "surrogatepass")) > 1024:
            raise InvalidInput(f"{name} may have 1024 bytes.", field=name)
    return {_KEPT + name: value for name, value in kept.items() if value}


def _text(value: str | bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _stem(path: str) -> str:
    base = path.rstrip("/").rsplit("/", 1)[-1]
    plain = "".join(c for c in base if c.isprintable())
    return (plain.removesuffix(".py") or plain or "job")[:200]


def status(view: JobView) -> schema.Status:
    """Return where a Job is, in this door's words."""
    job, attempt = view.job, view.attempt
    if job.state in SETTLED:
        return SETTLED[job.state]
    if attempt is None:
        return "queued"
    if attempt.live:
        word = LIVE[attempt.state][attempt.number > 1]
        pausing = job.intent is Intent.PAUSE and word == "running"
        return "checkpointing" if pausing else word
    return "evicted" if attempt.reason in TAKEN_AWAY else "resuming"


def of_door(where: JobFilter) -> JobFilter:
    """Return the filter narrowed to what this door can truthfully say: the Jobs made through it."""
    return replace(where, dialect=DIALECT)


def to_job(view: JobView, closed: bool, now: datetime) -> schema.Job:
    """Return a Job. ``closed``: the client can only read the closed set of frameworks."""
    job, spec = view.job, view.job.spec
    framework = spec.environment.framework or CUSTOM
    shown = FRAMEWORKS[0] if closed and framework not in FRAMEWORKS else framework
    spent = whole(view.captured_ucredits)
    failed = job.state is JobState.FAILED
    return schema.Job(
        id=public_id(job.id),
        name=job.name,
        status=status(view),
        status_message=view.wait.detail if view.wait else job.message,
        gpu_type=GPU_TYPES[spec.resources.gpu_type or "t4"],
        gpu_count=spec.resources.gpus,
        framework=shown,
        framework_requested=framework,
        current_epoch=_count(view.latest, "epoch") or 0,
        total_epochs=_count(view.latest, "epoch_total", "total_epochs", "num_epochs", "epochs"),
        current_loss=_number(view.latest, "loss", "train_loss", "train/loss"),
        reserved_credits=whole(view.reserved_ucredits),
        actual_cost=spent,
        credits_used=spent,
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.ended_at,
        duration_seconds=_ran_s(view.attempts, now),
        script_path=spec.labels.get(f"{_KEPT}script_path", ""),
        input_data_path=spec.labels.get(f"{_KEPT}input_data_path", ""),
        requirements_file=spec.labels.get(f"{_KEPT}requirements_file"),
        checkpoint_frequency=spec.checkpoint_every_epochs or 1,
        max_runtime_hours=-(-spec.max_runtime_s // HOUR_S),
        environment_variables=dict.fromkeys(sorted(set(spec.env_names) - _OWN), MASK),
        current_region=None,
        retry_count=job.infrastructure_used,
        max_retries=MAX_INFRASTRUCTURE,
        error_message=(job.message or f"The job failed: {job.reason}.") if failed else None,
    )


def whole(ucredits: int) -> int:
    """Return whole credits; the pools of this door charge no others."""
    return -(-ucredits // MICRO)


def _ran_s(attempts: tuple[Attempt, ...], now: datetime) -> float | None:
    spans = [(a.ended_at or now) - a.started_at for a in attempts if a.started_at is not None]
    return sum(max(s.total_seconds(), 0.0) for s in spans) if spans else None


def _number(latest: Mapping[str, Point], *names: str) -> float | None:
    """Return the newest finite value of the first name that has one; nothing is invented."""
    found = (latest[n].value for n in names if n in latest)
    return next((v for v in found if math.isfinite(v)), None)


def _count(latest: Mapping[str, Point], *names: str) -> int | None:
    value = _number(latest, *names)
    return None if value is None or not 0 <= value < 2**31 else int(value)


def to_line(line: Line) -> schema.LogLine:
    """Return a line of a log; its level is what it says, else that of its stream."""
    said = _LEVEL.search(line.text[:100])
    fallback = "WARNING" if line.stream == "stderr" else "INFO"
    level = _LEVELS.get(said[1], said[1]) if said else fallback
    stamp = line.at.isoformat(timespec="microseconds")
    return schema.LogLine(id=line.id, timestamp=stamp, level=level, message=line.text)
