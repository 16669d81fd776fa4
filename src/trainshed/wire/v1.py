"""Version 1 of the runner's protocol: JSON over HTTP, raw bytes for streams and blobs.

All paths are below ``/runner/v1/attempts/{attempt_id}``, with ``Authorization: Bearer <runner
token>``.
Every answer may be 401 (token unknown) or 409 ``stale_lease``: the runner then kills its user
process
and exits. 503 and no answer mean: try again with jittered back-off, for as long as it takes.

    POST assignment              {"protocol", "boot_id", "pid"}        -> 200 Assignment
    POST started                 Started                               -> 200 Reply
    POST heartbeat               Heartbeat                             -> 200 Reply
    GET  orders?wait_s=20        (long poll; answers at once if an order is open) -> 200 Reply
    POST streams/{name}?offset=N raw bytes, at most CHUNK              -> 200 {"next": N}
                                 409 offset_mismatch {"next": N}: continue from there
                                 413: the stream's limit is reached; stop sending it
    POST metrics?offset=N        {"points": [[key, step, at_ms, value], ...]} -> 200 {"next": N}
                                 value is a number or "NaN" "Infinity" "-Infinity"; same 409 and 413
    GET  inputs/{index}          raw bytes of Assignment.inputs[index]
    GET  resume/{index}          raw bytes of Assignment.resume["files"][index]
    PUT  blobs?md5=M&sha256=S&size=N   raw bytes -> 201 {"md5"}
                                 409 digest_conflict; 507 quota or disk
    POST checkpointing           {"active"}: a snapshot of the running job begins, or is over
                                                                       -> 200 Reply
    PUT  measurement             what is to be measured, raw -> 202 {}; idempotent
                                 400: this job does not measure; 413
    GET  measurement?wait_s=20   (long poll) -> 200 what was measured, raw; 204 not yet
                                 424: it could not be measured, {"detail"}
    POST artifacts               Collected           -> 201 {"id"}; idempotent per digest
    POST finished                Finished                              -> 200 {}; idempotent
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

PROTOCOL = 1
CHUNK = 64 * 1024
MAX_POINTS = 5_000
#: What is to be measured, and what was.
MAX_PARCEL = 8 * 1024**2
PREFIX = "/runner/v1/attempts"

M = TypeVar("M", bound="Message")


@dataclass(frozen=True)
class Message:
    """Base: to and from plain JSON objects; unknown keys are dropped."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[M], data: dict[str, Any]) -> M:
        """Return the message; raises TypeError when a required field is missing."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in known})


@dataclass(frozen=True)
class Assignment(Message):
    """All that a runner needs to run one Attempt.

    ``inputs``: [{"path", "size_bytes", "sha256", "md5", "unpack", "executable"}], put at ``path``
    in the workspace. ``env``: the user's variables, decrypted (never logged). ``resume``: null or
    {"artifact_id", "step", "files": [same shape]}, put below the resume directory. ``volume``: a
    path at which the checkpoint directory is shown where the sandbox can, or ""; the files of
    ``resume`` then lie in the checkpoint directory from the start. ``resume_flag``: appended to the
    command with the path of what it resumes from, or "". ``resuming``: False when ``resume`` is
    only what the volume held before a Job's first Attempt.
    ``sandbox``: {"kind": "auto"|"bwrap"|"bare", "uid": int|null, "network":
    "host"|"egress"|"none",
    "minimum": "none"|"partial"|"strong", "read_only": [host paths], "bench": whether the job may
    have something measured (``runner/bench.py``)}.
    ``limits``: {"millicpus", "memory_bytes", "max_runtime_ms", "log_bytes", "disk_bytes", "pids"}.
    ``environment``: {"kind": "default"|"requirements"|"image", "value": the requirements' text or
    the image's name, "framework": null or {"name", "package", "modules": {module: package}},
    "mapped": whether ``python`` is the operator's for it, "account": whose, "sdists": bool,
    "build_s", "max_bytes", "pip": {variables for pip, never logged}}.
    ``cache``: {} or {"name", "account"}: a folder that the account's Jobs with that name share, at
    the path in ``TRAINSHED_NAME_CACHE``; only where none of the user's code runs.
    ``checkpoint_every_epochs``: a snapshot each time so many further epochs were reported.
    ``container``: for the environment kind ``image``: {"name": registry/repository, "reference":
    with its tag or digest, "engine": "auto"|"podman"|"docker", "pull": "missing"|"always"|"never",
    "digest": that of an earlier Attempt or "", "credentials": null or {"registry", "username",
    "password"} (never logged)}. ``python``: the interpreter that ``python``/``python3`` in the
    command means outside containers. ``system_log``: lines the server wants at the head of the
    ``system`` stream (CPU fallback, network).
    """

    attempt_id: str
    job_id: str
    number: int
    job_token: str
    command: list[str]
    python: str
    env: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    resume: dict[str, Any] | None = None
    environment: dict[str, Any] = field(default_factory=lambda: {"kind": "default", "value": ""})
    sandbox: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    grace_s: float = 10.0
    heartbeat_s: float = 5.0
    checkpoint_every_s: float | None = None
    checkpoint_every_epochs: int | None = None
    system_log: list[str] = field(default_factory=list)
    api_url: str = ""
    volume: str = ""
    resume_flag: str = ""
    resuming: bool = True
    cache: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Started(Message):
    """The user's process runs. ``isolation``: strong, partial or none; ``network``: host, egress or
    none; both as they were really built. ``image_digest``: of the image it runs in, or "".
    ``age_ms``: how long it has been running.
    """

    pid: int
    isolation: str
    prepare_ms: int = 0
    network: str | None = None
    image_digest: str = ""
    age_ms: int = 0


@dataclass(frozen=True)
class Heartbeat(Message):
    """Renews the lease. Figures are of the whole tree of the user's process, or null if unknown."""

    runtime_ms: int
    rss_bytes: int | None = None
    cpu_ms: int | None = None


@dataclass(frozen=True)
class Reply(Message):
    """``order``: null, or {"kind": "cancel"|"pause"|"preempt"|"drain"|"checkpoint", "grace_s"}."""

    order: dict[str, Any] | None = None


@dataclass(frozen=True)
class Collected(Message):
    """A whole directory, whose blobs were all sent before: committed at once or not at all.

    ``files``: [{"path", "size_bytes", "md5", "sha256", "executable"}]. ``runtime_ms``: the
    run time it covers.
    """

    kind: str
    files: list[dict[str, Any]]
    runtime_ms: int
    step: int | None = None


@dataclass(frozen=True)
class Finished(Message):
    """The end, as ``domain.attempt.Ending``; fsynced to outcome.json before it is sent.

    ``started``: a ``Started``, of a process that ended before it was told of.
    """

    cause: str
    exit_code: int | None = None
    signal: int | None = None
    stopped_by: str | None = None
    runtime_ms: int = 0
    message: str = ""
    image_digest: str = ""
    started: dict[str, Any] | None = None
