"""The wire shapes of the Middleman door: what comes in, strictly, and what goes out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SPEC_BYTES = 256 * 1024
SMALL_BYTES = 16 * 1024

Path = Annotated[str, Field(max_length=1024)]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Variables = dict[
    Annotated[str, Field(min_length=1, max_length=128)],
    Annotated[str, Field(max_length=32_768)] | bool | int | float,
]
Status = Literal[
    "queued", "provisioning", "running", "paused", "checkpointing",
    "evicted", "resuming", "completed", "cancelled", "failed",
]  # fmt: skip
Gpu = Literal["t4", "v100", "a100"]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class JobBody(Body):
    """A job in both spellings: ``script_path`` or ``script``, ``environment_variables`` or
    ``environment``, ``requirements_file`` (a path) or ``requirements`` (its text).
    """

    script_path: Path | None = None
    script: Path | None = None
    input_data_path: Path | None = None
    name: Name | None = None
    gpu_type: Word = "t4"
    gpu_count: int = Field(default=1, ge=1, le=8)
    framework: Word = "pytorch"
    requirements_file: Path | None = None
    requirements: Annotated[str, Field(max_length=65_536)] | None = None
    checkpoint_frequency: int = Field(default=10, ge=1, le=1_000_000)
    max_runtime_hours: int = Field(default=4, ge=1, le=72)
    environment_variables: Variables | None = Field(default=None, max_length=256, repr=False)
    environment: Variables | None = Field(default=None, max_length=256, repr=False)


class UploadBody(Body):
    """A file to come."""

    filename: Annotated[str, Field(min_length=1, max_length=1024)]
    content_type: Annotated[str, Field(max_length=200)] = "application/octet-stream"
    size_bytes: int = Field(ge=0, le=2**63 - 1)


class DownloadBody(Body):
    """What to fetch of a job; no path is everything."""

    job_id: Word
    path: Path | None = None


class KeyBody(Body):
    """A new API key."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: list[Literal["read", "write", "admin"]] = Field(
        default=["read", "write"], min_length=1, max_length=3
    )
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class Job(BaseModel):
    """A job. ``environment_variables`` has names only; ``framework_requested`` is what was asked
    where ``framework`` can only say one of its closed set.
    """

    id: str
    name: str
    status: Status
    status_message: str
    gpu_type: Gpu
    gpu_count: int
    framework: str
    framework_requested: str
    current_epoch: int
    total_epochs: int | None
    current_loss: float | None
    reserved_credits: int
    actual_cost: int
    credits_used: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    script_path: str
    input_data_path: str
    requirements_file: str | None
    checkpoint_frequency: int
    max_runtime_hours: int
    environment_variables: dict[str, str]
    current_region: str | None
    retry_count: int
    max_retries: int
    error_message: str | None


class NewJob(Job):
    """A job just made."""

    estimated_cost: int
    queue_position: int


class CancelledJob(Job):
    """A job that was cancelled, and what of its reservation came back."""

    refunded_credits: int


class Jobs(BaseModel):
    """A part of a list, and how many there are."""

    data: list[Job]
    total: int


class LogLine(BaseModel):
    """One line of a job's log."""

    id: str
    timestamp: str
    level: str
    message: str


class Logs(BaseModel):
    """The last lines."""

    logs: list[LogLine]


class LogPage(BaseModel):
    """The lines behind a cursor, oldest first; ``next`` goes on after them."""

    logs: list[LogLine]
    next: str


class Balance(BaseModel):
    """Whole credits; ``available`` is ``balance`` less ``reserved``."""

    balance: int
    reserved: int
    available: int
    expires_at: datetime | None = None


class Package(BaseModel):
    """Credits for sale."""

    id: str
    name: str
    credits: int
    price_cents: int


class Packages(BaseModel):
    """All of them."""

    packages: list[Package]


class Transaction(BaseModel):
    """A line of the ledger in whole credits."""

    id: str
    created_at: datetime
    type: str
    amount: int
    balance_after: int
    description: str
    job_id: str | None


class Transactions(BaseModel):
    """A part of the ledger, and how many lines it has."""

    data: list[Transaction]
    total: int


class Me(BaseModel):
    """Who is calling."""

    id: str
    email: str
    name: str
    tier: str


class UploadUrl(BaseModel):
    """Where to PUT the bytes."""

    upload_url: str = Field(repr=False)
    blob_path: str
    expires_at: datetime


class DownloadUrl(BaseModel):
    """Where to GET the bytes; the size of what is zipped on its way is not known."""

    download_url: str = Field(repr=False)
    expires_at: datetime
    size_bytes: int | None


class Key(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    key_prefix: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class NewKey(Key):
    """A key just made; the secret is shown this once."""

    key: str = Field(repr=False)


class Revoked(BaseModel):
    """The key is dead."""

    revoked: bool
