"""What a use case is given. Built once, by ``bootstrap``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainshed.domain.lease import LeaseTerms
from trainshed.domain.pricing import BoardPlan, Package
from trainshed.domain.resources import Pool
from trainshed.ports.blobs import Blobs
from trainshed.ports.boards import Boards, ModelCheck
from trainshed.ports.bus import Bus
from trainshed.ports.channel import Channel
from trainshed.ports.clock import Clock, Ids
from trainshed.ports.executor import Executor
from trainshed.ports.roots import Roots
from trainshed.ports.secrets import Secrets
from trainshed.ports.store import Store
from trainshed.ports.words import Words
from trainshed.ports.workload import Workload


@dataclass(frozen=True, slots=True)
class Environments:
    """How environments of Jobs are built. ``pip``: variables for pip, maybe with credentials.

    ``sdists``: whether packages that run code while they are built are taken; None: while jobs
    may use the host's network anyway. ``interpreters``: framework -> the operator's interpreter.
    """

    build_s: float = 1800.0
    max_bytes: int = 20 * 1024**3
    sdists: bool | None = None
    pip: Mapping[str, str] = field(default_factory=dict, repr=False)
    interpreters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's decisions that use cases obey; nearly every figure is a documented setting.

    ``images``: image -> interpreter on this machine that stands for it. ``max_workers``: Attempts
    that may live at once. ``first_uid``: the job in slot n runs as uid ``first_uid + n`` when the
    server is root. ``board_plans``: the first is every new account's. ``board_emulators``: how many
    Jobs of one board count as running at once, None for as many as fit.
    """

    cpu_fallback: bool = False
    sign_up_open: bool = False
    loopback_only: bool = True
    require_isolation: bool = True
    max_upload_bytes: int = 20 * 1024**3
    max_artifact_bytes: int = 100 * 1024**3
    max_files: int = 100_000
    default_quota_bytes: int = 100 * 1024**3
    log_limit_bytes: int = 1024**3
    metric_keys_limit: int = 1000
    metric_points_limit: int = 10_000_000
    keep_checkpoints: int = 2
    retention_s: int = 0
    min_free_bytes: int = 256 * 1024**2
    presign_ttl_s: int = 900
    session_ttl_s: int = 7 * 86_400
    idempotency_ttl_s: int = 172_800
    admin_grant_ucredits: int = 10_000_000_000
    preemption: str = "own"
    preempt_min_run_s: float = 60.0
    low_ucredits: int = 0
    packages: tuple[Package, ...] = ()
    board_plans: tuple[BoardPlan, ...] = (BoardPlan("free", 10),)
    board_emulators: int | None = None
    max_cache_bytes: int = 2 * 1024**3
    max_backlog: int = 20_000
    local_grant_ucredits: int = 10_000_000_000
    max_workers: int | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    first_uid: int = 200_000
    container_engine: str = "auto"
    image_pull: str = "missing"
    image_registries: tuple[str, ...] = ()
    lease: LeaseTerms = field(default_factory=LeaseTerms)
    environments: Environments = field(default_factory=Environments)


@dataclass(frozen=True, slots=True)
class Deps:
    """The wings, by their ports. Plug-ins are keyed by name.

    ``runner_url`` is where runners call home, ``public_url`` where jobs and people reach the API.
    ``words`` is how dialects other than the native one tell events, by dialect.
    """

    store: Store
    blobs: Blobs
    clock: Clock
    ids: Ids
    secrets: Secrets
    bus: Bus
    executors: Mapping[str, Executor]
    workloads: Mapping[str, Workload]
    pools: Sequence[Pool]
    policy: Policy
    runner_url: str
    public_url: str = ""
    channels: Mapping[str, Channel] = field(default_factory=dict)
    words: Mapping[str, Words] = field(default_factory=dict)
    roots: Roots | None = None
    boards: Boards | None = None
    model_check: ModelCheck | None = None
