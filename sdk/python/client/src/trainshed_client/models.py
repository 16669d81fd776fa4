"""What the API answers, as frozen dataclasses. ``raw`` is the JSON object as it came.

Units are in the names; 10⁶ ``*_ucredits`` are one credit. Times are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: The states from which a Job never moves again.
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, kw_only=True)
class Model:
    """Base of all answers."""

    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Health(Model):
    status: str
    version: str = ""
    time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class User(Model):
    id: str
    username: str
    role: str = ""
    operator: bool = False
    account_id: str | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Account(Model):
    id: str
    name: str
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    weight: float = 1.0
    quota_bytes: int | None = None
    used_bytes: int | None = None
    plan: str = ""
    renews_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Session(Model):
    """A login; ``token`` is as good as the password until ``expires_at``."""

    token: str = field(repr=False)
    expires_at: datetime | None = None
    user: User | None = None
    account: Account | None = None


@dataclass(frozen=True, kw_only=True)
class Me(Model):
    """Who is calling; ``key_id`` is None for a session."""

    user: User | None = None
    account: Account | None = None
    right: str | None = None
    operator: bool = False
    key_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Key(Model):
    """An API key; ``secret`` is there only in the answer that made it."""

    id: str
    name: str = ""
    prefix: str = ""
    scopes: tuple[str, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    spend_limit_ucredits: int | None = None
    last_used_at: datetime | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Balance(Model):
    unit: str = "credit"
    balance_ucredits: int = 0
    held_ucredits: int = 0
    available_ucredits: int = 0


@dataclass(frozen=True, kw_only=True)
class Entry(Model):
    """One immutable line of the ledger."""

    seq: int
    kind: str = ""
    amount_ucredits: int = 0
    balance_after_ucredits: int = 0
    unit: str = "credit"
    job_id: str | None = None
    attempt_id: str | None = None
    memo: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Hold(Model):
    """Credits set aside for a Job that has not ended."""

    id: str | None = None
    job_id: str | None = None
    amount_ucredits: int = 0
    unit: str = "credit"
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class AuditLine(Model):
    """Who did what; the members are the server's, in ``raw``."""


@dataclass(frozen=True, kw_only=True)
class Resources(Model):
    cpus: float = 1
    memory_bytes: int = 0
    gpus: int = 0
    gpu_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class WaitReason(Model):
    """Why a Job does not start, and the smallest change that would start it."""

    code: str = ""
    detail: str = ""
    fix: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan(Model):
    """What a Job would cost and when it would start; made nothing."""

    pool: str | None = None
    price_ucredits_per_hour: int = 0
    hold_ucredits: int = 0
    fallback: bool = False
    starts: WaitReason | None = None
    position: int = 0
    estimated_start_at: datetime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress(Model):
    epoch: float | None = None
    epoch_total: float | None = None
    step: int | None = None
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt(Model):
    """One execution of a Job, numbered from 1."""

    id: str
    number: int
    state: str
    reason: str | None = None
    message: str | None = None
    pool: str | None = None
    fallback: bool = False
    offer_id: str | None = None
    devices: Any = None
    cpus: float | None = None
    memory_bytes: int | None = None
    isolation: Any = None
    network: Any = None
    leased_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    signal: Any = None
    runtime_ms: int | None = None
    billable_ms: int | None = None
    resumed_from: str | None = None
    resumed_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job(Model):
    """What a user asked for; one id for life. Values of ``env`` never come back."""

    id: str
    state: str
    name: str | None = None
    reason: str | None = None
    message: str | None = None
    intent: str | None = None
    dialect: str | None = None
    workload: str = "command"
    params: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    inputs: tuple[dict[str, Any], ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] | None = None
    resources: Resources | None = None
    max_runtime_s: float | None = None
    retry: dict[str, Any] | None = None
    priority: int = 0
    network: Any = None
    labels: dict[str, str] = field(default_factory=dict)
    pool: str | None = None
    retry_of: str | None = None
    created_at: datetime | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    n_attempts: int = 0
    retries_used: int = 0
    wait_reason: WaitReason | None = None
    attempt: Attempt | None = None
    progress: Progress | None = None
    held_ucredits: int | None = None
    captured_ucredits: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the Job's outcome is written."""
        return self.state in ENDED


@dataclass(frozen=True, kw_only=True)
class Receipt(Model):
    job_id: str
    state: str
    reason: str | None = None
    queued_s: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    useful_s: float | None = None
    lost_s: float | None = None
    n_attempts: int = 0
    pool: str | None = None
    pool_used: str | None = None
    fallback: bool = False
    price_ucredits_per_hour: int = 0
    held_ucredits: int = 0
    captured_ucredits: int = 0
    released_ucredits: int = 0
    refunded_ucredits: int = 0
    unit: str = "credit"


@dataclass(frozen=True, kw_only=True)
class ArtifactFile(Model):
    path: str
    size_bytes: int = 0
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact(Model):
    """Immutable files an Attempt left; a checkpoint is one from which a Job can resume."""

    id: str
    kind: str = "artifact"
    attempt_id: str | None = None
    digest: str | None = None
    size_bytes: int = 0
    n_files: int = 0
    step: int | None = None
    pinned: bool = False
    created_at: datetime | None = None
    files: tuple[ArtifactFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Event(Model):
    """A fact that happened; ``seq`` orders the account's events."""

    seq: int
    kind: str
    at: datetime | None = None
    job_id: str | None = None
    attempt_id: str | None = None
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class Log(Model):
    """A piece of one stream of one Attempt; offsets count bytes, not characters."""

    stream: str
    attempt: int
    offset: int
    next: int
    text: str
    size: int | None = None
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class StateChange(Model):
    """A Job's new state while following; ``final`` when the stream has ended with it."""

    state: str
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class MetricPoint(Model):
    """One value; ``value`` is None and ``flag`` says which for nan, inf and -inf."""

    key: str
    step: int | None = None
    at_ms: int | None = None
    value: float | None = None
    flag: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricLatest(Model):
    step: int | None = None
    at: datetime | None = None
    value: float | None = None
    flag: str | None = None


@dataclass(frozen=True, kw_only=True)
class MetricSummary(Model):
    key: str
    n: int = 0
    latest: MetricLatest | None = None


@dataclass(frozen=True, kw_only=True)
class MetricSeries(Model):
    """The points of one metric; ``buckets`` when there were more than asked for."""

    key: str
    points: tuple[MetricPoint, ...] = ()
    buckets: bool = False


@dataclass(frozen=True, kw_only=True)
class UploadTicket(Model):
    """Where to PUT the bytes; ``url`` is a secret until ``expires_at``."""

    id: str
    url: str = field(repr=False)
    path: str = ""
    method: str = "PUT"
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Upload(Model):
    id: str
    path: str
    size_bytes: int = 0
    md5: str | None = None
    sha256: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DownloadTicket(Model):
    """Where to GET the bytes; ``url`` is a secret until ``expires_at``."""

    url: str = field(repr=False)
    expires_at: datetime | None = None
    size_bytes: int | None = None
    filename: str | None = None
