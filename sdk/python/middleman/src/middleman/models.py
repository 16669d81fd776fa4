"""What the API answers. Objects keep the JSON they came from in ``raw``; credits are whole.

The enums are open: a word that this version does not know (a new GPU type, say) becomes a member
of its own and breaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NotRequired, Self, TypedDict, TypeVar

T = TypeVar("T")


class _Open(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        made = str.__new__(cls, value)
        made._name_, made._value_ = value.upper(), value
        return made


class JobStatus(_Open):
    """Where a job is."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    PAUSED = "paused"
    CHECKPOINTING = "checkpointing"
    EVICTED = "evicted"
    RESUMING = "resuming"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class GpuType(_Open):
    """What kind of GPU a job runs on."""

    T4 = "t4"
    V100 = "v100"
    A100 = "a100"


class Framework(_Open):
    """What the script is written with."""

    PYTORCH = "pytorch"
    TENSORFLOW = "tensorflow"
    JAX = "jax"


#: The statuses from which a job never moves again.
TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED})
_ACTIVE = frozenset(
    {
        JobStatus.QUEUED,
        JobStatus.PROVISIONING,
        JobStatus.RUNNING,
        JobStatus.CHECKPOINTING,
        JobStatus.RESUMING,
    }
)


@dataclass(frozen=True, kw_only=True)
class Model:
    """Base of all answers that are objects."""

    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Job(Model):
    """A training job, as lists show it."""

    id: str
    status: JobStatus
    gpu_type: GpuType
    created_at: datetime
    name: str | None = None
    gpu_count: int = 1
    framework: Framework = Framework.PYTORCH
    current_epoch: int = 0
    total_epochs: int | None = None
    current_loss: float | None = None
    reserved_credits: int = 0
    actual_cost: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    status_message: str = ""
    error_message: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether it is queued or running, or on the way there."""
        return self.status in _ACTIVE

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended for good."""
        return self.status in TERMINAL


@dataclass(frozen=True, kw_only=True)
class JobDetail(Job):
    """A training job with all that was asked for; values of environment variables are masked."""

    script_path: str = ""
    input_data_path: str = ""
    requirements_file: str | None = None
    checkpoint_frequency: int = 10
    max_runtime_hours: int = 4
    environment_variables: dict[str, Any] = field(default_factory=dict)
    current_region: str | None = None
    retry_count: int = 0
    max_retries: int = 3


@dataclass(frozen=True, kw_only=True)
class JobCreateResponse(Model):
    """A job just made, with what it reserves and its place in the queue (0 is next)."""

    id: str
    status: JobStatus
    estimated_cost: int
    reserved_credits: int
    queue_position: int
    created_at: datetime
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class CreditBalance(Model):
    """Credits of the account: ``available`` is ``balance`` without ``reserved``."""

    balance: int
    reserved: int
    available: int
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class CreditPackage(Model):
    """Credits for sale."""

    id: str
    name: str
    credits: int
    price_cents: int

    @property
    def price_dollars(self) -> float:
        """The price in US dollars."""
        return self.price_cents / 100


@dataclass(frozen=True, kw_only=True)
class ApiKey(Model):
    """An API key; the key itself is told only once, when it is made."""

    id: str
    name: str
    key_prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class UploadUrl(Model):
    """Where to PUT a file, and the path that names it in ``create_job``."""

    upload_url: str
    blob_path: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class DownloadUrl(Model):
    """Where to GET a file, or a zip of a folder or of everything."""

    download_url: str
    expires_at: datetime
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class User(Model):
    """Who the key belongs to."""

    name: str
    email: str = ""
    tier: str = "free"


class LogEntry(TypedDict):
    """One line of a job's log; ``id`` is unique in the job."""

    id: str
    timestamp: str
    level: str
    message: str


class Transaction(TypedDict):
    """A movement of credits; ``amount`` is negative where credits went."""

    id: NotRequired[str]
    created_at: str
    type: str
    amount: int
    description: str
    balance_after: NotRequired[int]
    job_id: NotRequired[str | None]


class Webhook(TypedDict):
    """Where events are sent; ``secret`` is there only in the answer that made it."""

    id: str
    name: str
    url: str
    events: list[str]
    is_active: bool
    secret: NotRequired[str]


def read(cls: type[T], data: Any) -> T:
    """Return the JSON object ``data`` as ``cls``.

    Raises:
        BadAnswerError: it is none.
    """
    from middleman.errors import as_ours
    from trainshed_client.decode import decode

    with as_ours():
        return decode(cls, data)
