"""The wire shapes of what comes in. Strict: no unknown field, no coercion, every size bounded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

INT64 = 2**63 - 1
SPEC_BYTES = 256 * 1024
SMALL_BYTES = 16 * 1024

Amount = Annotated[int, Field(ge=0, le=INT64)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
Secret = Annotated[str, Field(min_length=1, max_length=1024, repr=False)]
Username = Annotated[str, Field(min_length=1, max_length=64)]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Argument = Annotated[str, Field(max_length=131_072)]
Role = Literal["viewer", "member", "admin"]
Scope = Literal["read", "write", "admin"]
State = Literal["QUEUED", "RUNNING", "PAUSED", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"]
Stream = Literal["stdout", "stderr", "system"]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class LoginBody(Body):
    """Name and password."""

    username: Username
    password: Secret


class PasswordChangeBody(Body):
    """Change the own password."""

    old_password: Secret
    new_password: Secret


class RegistryBody(Body):
    """A login to a container registry, HOST or HOST:PORT."""

    registry: Text
    username: Text
    password: Annotated[str, Field(min_length=1, max_length=8192, repr=False)]


class PasswordBody(Body):
    """Set another's password."""

    password: Secret


class AccountBody(Body):
    """A new account."""

    name: Username
    quota_bytes: Amount | None = None
    weight: float = Field(default=1.0, ge=0.001, le=1000)


class AccountPatch(Body):
    """What changes of an account."""

    name: Username | None = None
    disabled: bool | None = None
    quota_bytes: Amount | None = None
    weight: float | None = Field(default=None, ge=0.001, le=1000)
    plan: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class GrantBody(Body):
    """Credits to give."""

    amount_ucredits: int = Field(gt=0, le=INT64)
    unit: Literal["credit", "board_run"] = "credit"
    memo: str = Field(default="", max_length=500)


class UserBody(Body):
    """A new person."""

    username: Username
    password: Secret
    role: Role
    account_id: Id | None = None


class UserPatch(Body):
    """What changes of a person."""

    role: Role | None = None
    disabled: bool | None = None
    operator: bool | None = None


class KeyBody(Body):
    """A new API key."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=3)
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)
    spend_limit_ucredits: Amount | None = None
    prefix: Literal["ts_", "mdlm_", ""] = "ts_"


class InputBody(Body):
    """A file put into the workspace."""

    source: Literal["upload", "artifact"]
    ref: Id
    path: Path
    unpack: bool = False


class EnvironmentBody(Body):
    """The interpreter and its packages."""

    kind: Literal["default", "requirements", "requirements_file", "image"] = "default"
    value: str = Field(default="", max_length=65_536)
    framework: str = Field(default="", max_length=64)


class ResourcesBody(Body):
    """What the Job wants."""

    cpus: float = Field(default=1, ge=0.05, le=1024)
    memory_bytes: int = Field(default=1024**3, ge=0, le=INT64)
    gpus: int = Field(default=0, ge=0, le=64)
    gpu_type: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class RetryBody(Body):
    """When it runs again by itself."""

    max_retries: int = Field(default=0, ge=0, le=100)
    backoff_s: float = Field(default=10.0, ge=0, le=86_400)
    max_backoff_s: float = Field(default=3600.0, ge=0, le=86_400)


class JobBody(Body):
    """The JobSpec; only ``command`` is required, and only of workloads that run the user's."""

    name: Text | None = None
    workload: Annotated[str, Field(min_length=1, max_length=64)] = "command"
    params: dict[str, Any] = Field(default_factory=dict)
    command: (
        Annotated[str, Field(min_length=1, max_length=131_072)]
        | Annotated[list[Argument], Field(min_length=1, max_length=1024)]
    ) = Field(default_factory=list)
    inputs: list[InputBody] = Field(default_factory=list, max_length=1000)
    env: dict[
        Annotated[str, Field(min_length=1, max_length=128)],
        Annotated[str, Field(max_length=32_768)],
    ] = Field(default_factory=dict, max_length=256, repr=False)
    environment: EnvironmentBody = EnvironmentBody()
    resources: ResourcesBody = ResourcesBody()
    max_runtime_s: int = Field(default=86_400, ge=1, le=30 * 86_400)
    retry: RetryBody = RetryBody()
    priority: int = Field(default=0, ge=-1000, le=1000)
    network: Literal["default", "host", "egress", "none"] = "default"
    labels: dict[
        Annotated[str, Field(min_length=1, max_length=63)], Annotated[str, Field(max_length=256)]
    ] = Field(default_factory=dict, max_length=64)
    grace_s: float = Field(default=10, ge=0, le=600)
    checkpoint_every_epochs: int | None = Field(default=None, ge=1, le=1_000_000)


class BenchBody(Body):
    """A real board that is attached. ``version``: of the program beside it."""

    board: Id
    name: Text
    version: Annotated[str, Field(min_length=1, max_length=64)]


class FailureBody(Body):
    """Why something could not be measured."""

    message: Annotated[str, Field(min_length=1, max_length=2000)]


class CheckBody(Body):
    """A model to be checked."""

    upload_id: Annotated[str, Field(max_length=64)]
    quantize: bool = False


class PriorityBody(Body):
    """A new place in the queue."""

    priority: int = Field(ge=-1000, le=1000)


class PinBody(Body):
    """Whether a checkpoint is kept."""

    pinned: bool


class UploadBody(Body):
    """A file to come."""

    path: Path
    size_bytes: Amount
    md5: Hex32 | None = None
    sha256: Hex64 | None = None


class DownloadBody(Body):
    """What to fetch of a Job."""

    job_id: Id
    path: Annotated[str, Field(max_length=1024)] | None = None
