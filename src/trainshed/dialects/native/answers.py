"""The wire shapes of what goes out: an answer holds these fields and no others."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class Items(BaseModel, Generic[T]):
    """A whole list."""

    items: list[T]


class Page(BaseModel, Generic[T]):
    """A part of a list; ``next`` is the cursor of what follows."""

    items: list[T]
    next: str | None = None


class Health(BaseModel):
    """The server answers."""

    status: str
    version: str
    time: datetime


class WaitReason(BaseModel):
    """Why a Job does not start, and what would make it."""

    code: str
    detail: str
    fix: str | None


class Plan(BaseModel):
    """What submitting would mean."""

    pool: str
    price_ucredits_per_hour: int
    hold_ucredits: int
    fallback: bool
    starts: WaitReason
    position: int
    estimated_start_at: datetime | None
    notes: list[str]


class Attempt(BaseModel):
    """One execution of a Job."""

    id: str
    number: int
    state: str
    reason: str | None
    message: str
    pool: str
    fallback: bool
    offer_id: str
    devices: list[str]
    cpus: float
    memory_bytes: int
    isolation: str | None
    network: str | None
    image_digest: str | None
    leased_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    signal: int | None
    runtime_ms: int
    billable_ms: int
    resumed_from: str | None
    resumed_step: int | None


class Progress(BaseModel):
    """How far the newest Attempt says it is."""

    epoch: float | None = None
    epoch_total: float | None = None
    step: int | None = None
    loss: float | None = None


class Resources(BaseModel):
    """What a Job asked for."""

    cpus: float
    memory_bytes: int
    gpus: int
    gpu_type: str | None


class Retry(BaseModel):
    """When it runs again by itself."""

    max_retries: int
    backoff_s: float
    max_backoff_s: float


class Job(BaseModel):
    """A Job; the values of ``env`` never come back."""

    id: str
    name: str
    state: str
    reason: str | None
    message: str
    intent: str
    dialect: str
    workload: str
    params: dict[str, Any]
    command: list[str]
    inputs: list[dict[str, Any]]
    env: dict[str, str]
    environment: dict[str, str]
    resources: Resources
    max_runtime_s: int
    retry: Retry
    priority: int
    network: str
    labels: dict[str, str]
    grace_s: float
    checkpoint_every_epochs: int | None
    pool: str
    retry_of: str | None
    created_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    n_attempts: int
    retries_used: int
    wait_reason: WaitReason | None
    attempt: Attempt | None
    progress: Progress | None
    held_ucredits: int
    captured_ucredits: int


class Event(BaseModel):
    """A fact that happened."""

    seq: int
    kind: str
    at: datetime
    job_id: str | None
    attempt_id: str | None
    data: dict[str, Any]


class Log(BaseModel):
    """A piece of a log; offsets count bytes."""

    stream: str
    attempt: int
    offset: int
    next: int
    size: int
    truncated: bool
    text: str


class Latest(BaseModel):
    """The newest point of a metric."""

    step: int
    at: datetime
    value: float | None
    flag: str | None


class Metric(BaseModel):
    """A metric of a Job."""

    key: str
    n: int
    latest: Latest


class Series(BaseModel):
    """Points ``[step, at_ms, value, flag?]``; of buckets the extremes and what is no number."""

    key: str
    points: list[list[int | float | str | None]]
    buckets: bool


class File(BaseModel):
    """A file of an artifact."""

    path: str
    size_bytes: int
    md5: str
    sha256: str


class Artifact(BaseModel):
    """Immutable files that an Attempt left."""

    id: str
    kind: str
    attempt_id: str
    digest: str
    size_bytes: int
    n_files: int
    step: int | None
    pinned: bool
    created_at: datetime
    files: list[File]


class Receipt(BaseModel):
    """What an ended Job cost and why."""

    job_id: str
    state: str
    reason: str | None
    queued_s: float
    started_at: datetime | None
    ended_at: datetime | None
    useful_s: float
    lost_s: float
    n_attempts: int
    pool: str
    pool_used: str | None
    fallback: bool
    price_ucredits_per_hour: int
    held_ucredits: int
    captured_ucredits: int
    released_ucredits: int
    refunded_ucredits: int
    unit: str


class UploadTicket(BaseModel):
    """Where to PUT the bytes."""

    id: str
    path: str
    url: str = Field(repr=False)
    method: str = "PUT"
    expires_at: datetime


class Upload(BaseModel):
    """A file that was sent, or is to come."""

    id: str
    path: str
    size_bytes: int
    md5: str | None
    sha256: str | None
    created_at: datetime
    completed_at: datetime | None


class DownloadTicket(BaseModel):
    """Where to GET the bytes."""

    url: str = Field(repr=False)
    expires_at: datetime
    size_bytes: int | None
    filename: str


class Free(BaseModel):
    """What is left of an offer."""

    cpus: float
    memory_bytes: int
    gpus: int


class Offer(BaseModel):
    """A machine's capacity in a pool."""

    id: str
    executor: str
    pool: str
    gpu_type: str | None
    cpus: float
    memory_bytes: int
    gpus: int
    free: Free
    price_ucredits: int
    drained_at: datetime | None


class Pool(BaseModel):
    """A priced pool."""

    name: str
    gpu_type: str | None
    vram_bytes: int
    price_ucredits: int
    unit: str
    price_per_job_ucredits: int


class Offers(BaseModel):
    """What is for hire now, and the pools that are configured."""

    items: list[Offer]
    pools: list[Pool]
