"""The composition root: settings in, a wired Engine out. Nothing is built at import (law 2)."""

from __future__ import annotations

import ipaddress
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from trainshed.blobs.local import LocalBlobs
from trainshed.blobs.roots import GrantedRoots
from trainshed.bootstrap import registry
from trainshed.bootstrap.boards import CALIBRATIONS, LocalBoards
from trainshed.bootstrap.bus import LoopBus
from trainshed.bootstrap.clock import SystemClock, SystemIds
from trainshed.bootstrap.inspector import Inspector
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.bootstrap.settings import Settings
from trainshed.channels.outbound import GuardedHttp
from trainshed.dialects.middleman.events import MiddlemanWords
from trainshed.dialects.orchestrator.events import OrchestratorWords
from trainshed.domain import outbound
from trainshed.domain.image import check_registry
from trainshed.domain.lease import LeaseTerms
from trainshed.domain.pricing import BOARDS, BoardPlan
from trainshed.domain.resources import Pool
from trainshed.ports.channel import Channel, Mail, Surroundings
from trainshed.ports.deps import Deps, Environments, Policy
from trainshed.ports.executor import Executor
from trainshed.ports.store import Store
from trainshed.store.engine import open_store
from trainshed.usecases.engine import Engine, Seat
from trainshed.usecases.leases import Leases

#: Job uids lie far above those of people and of containers' subordinate ranges.
FIRST_UID, UIDS_EACH, UID_RANGES = 1_000_000_000, 10_000, 100_000

#: Variables of the server's own environment that reach the pip which builds environments.
PIP_NAMES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip


class Refused(Exception):
    """The server will not start like this; the message says what to change."""


class BadSetting(Refused):
    """A setting cannot mean anything: a mistake of usage."""


@dataclass(frozen=True, slots=True)
class Address:
    """One ``--listen``: host and port; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def addresses(settings: Settings) -> list[Address]:
    """Return the listen addresses.

    Raises:
        BadSetting: one is ill-formed. Refused: one reaches beyond loopback without
            ``allow_remote``.
    """
    out = []
    for text in settings.listen:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise BadSetting(f"--listen {text!r}: write HOST:PORT, for example 127.0.0.1:8000.")
        out.append(Address(host.strip("[]") or "127.0.0.1", int(port)))
    if not settings.allow_remote and not all(a.loopback for a in out):
        raise Refused(
            "Listening beyond loopback is refused unless the configuration says so: set"
            " allow_remote = true (TRAINSHED_ALLOW_REMOTE=1), with TLS in front of it."
        )
    return out


def prepare(data: Path) -> Path:
    """Make the data directory, 0700, and return it absolute."""
    data = data.expanduser().absolute()
    for folder in (data, data / "run", data / "workspaces"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    return data


def policy(settings: Settings, listen: list[Address], gpus: bool) -> Policy:
    """Return the operator's decisions."""
    loopback = all(a.loopback for a in listen)
    fallback = settings.cpu_fallback
    sign_up = settings.sign_up
    return Policy(
        cpu_fallback=(loopback and not gpus) if fallback == "auto" else fallback == "on",
        sign_up_open=loopback if sign_up == "auto" else sign_up == "open",
        loopback_only=loopback,
        require_isolation=settings.require_isolation,
        max_upload_bytes=settings.max_upload_bytes,
        max_artifact_bytes=settings.max_artifact_bytes,
        default_quota_bytes=settings.quota_bytes,
        log_limit_bytes=settings.log_limit_bytes,
        metric_keys_limit=settings.metric_keys_limit,
        metric_points_limit=settings.metric_points_limit,
        keep_checkpoints=settings.keep_checkpoints,
        retention_s=settings.retention_days * 86_400,
        min_free_bytes=settings.min_free_bytes,
        presign_ttl_s=settings.presign_ttl_s,
        session_ttl_s=settings.session_days * 86_400,
        admin_grant_ucredits=settings.admin_credits * 1_000_000,
        preemption=settings.preemption,
        preempt_min_run_s=settings.preempt_min_run_s,
        low_ucredits=settings.low_credits * 1_000_000,
        max_backlog=settings.delivery_backlog,
        packages=tuple(p.package() for p in settings.credit_packages),
        board_plans=plans(settings),
        board_emulators=settings.board_emulators,
        max_cache_bytes=settings.caches_bytes,
        local_grant_ucredits=settings.local_credits * 1_000_000,
        max_workers=settings.max_workers,
        images=images(settings),
        first_uid=first_uid(settings.data),
        container_engine=settings.container_engine,
        image_pull=settings.image_pull,
        image_registries=tuple(check_registry(r) for r in settings.image_registries),
        lease=LeaseTerms(settings.heartbeat_s, settings.lease_s),
        environments=environments(settings),
    )


def environments(settings: Settings) -> Environments:
    """Return how environments are built; pip gets its configuration and nothing else of ours.

    Raises:
        Refused: a framework's interpreter is not there.
    """
    pip = {name: os.environ[name] for name in PIP_NAMES if os.environ.get(name)}
    if settings.pip_index_url is not None:
        pip["PIP_INDEX_URL"] = settings.pip_index_url.get_secret_value()
    for name, path in settings.environments.items():
        if not (os.path.isabs(path) and os.access(path, os.X_OK)):
            raise Refused(f"environments: {name!r} must be the path of an interpreter; fix {path}.")
    sdists = {"auto": None, "on": True, "off": False}[settings.environment_sdists]
    return Environments(
        settings.environment_build_s, settings.environments_bytes, sdists, pip,
        settings.environments,
    )  # fmt: skip


def first_uid(data: Path) -> int:
    """Return where the uids of this data directory's jobs begin.

    Two servers on one machine must not share uids: a job of one could read the other's, and
    whoever ends a job by its uid would end both.
    """
    return FIRST_UID + zlib.crc32(os.fsencode(os.path.realpath(data))) % UID_RANGES * UIDS_EACH


def images(settings: Settings) -> dict[str, str]:
    """Return which interpreter stands for which image.

    Raises:
        Refused: one is not a program on this machine.
    """
    for image, path in settings.images.items():
        if not os.path.isabs(path) or not os.access(path, os.X_OK) or os.path.isdir(path):
            raise Refused(f"images: {image!r} is mapped to {path!r}, which is no program here.")
    return dict(settings.images)


def pools(settings: Settings) -> list[Pool]:
    """Return the priced pools.

    Raises:
        BadSetting: two have one name, ``local-cpu`` is missing, or ``boards`` is there.
    """
    names = [p.name for p in settings.pools]
    if len({*names, BOARDS.name}) <= len(names) or "local-cpu" not in names:
        raise BadSetting(
            "pools must have different names, one must be 'local-cpu', none may be 'boards'."
        )
    return [*(p.pool() for p in settings.pools), BOARDS]


def plans(settings: Settings) -> tuple[BoardPlan, ...]:
    """Return the board plans.

    Raises:
        BadSetting: two have one name, or the first one has a price.
    """
    found = tuple(p.plan() for p in settings.board_plans)
    if len({p.name for p in found}) < len(found) or found[0].price_cents:
        raise BadSetting("board_plans must have different names, and the first must cost nothing.")
    return found


def roots(settings: Settings) -> GrantedRoots:
    """Return the directories that accounts may take inputs from.

    Raises:
        Refused: one is not absolute, or holds the data directory: keys and other accounts' files.
    """
    data = settings.data.resolve()
    for root in (path for paths in settings.input_roots.values() for path in paths):
        if not root.is_absolute() or data.is_relative_to(root.resolve()):
            raise Refused(f"input_roots: {root} must be absolute and must not hold {data}.")
    return GrantedRoots(settings.input_roots)


def store_only(settings: Settings) -> Store:
    """Return the store to look at only, also while a server uses it (verify, backup)."""
    return open_store(settings.database_url(), read_only=True)


def executors(settings: Settings, data: Path) -> dict[str, Executor]:
    """Return the executors that are there, built with their own settings."""
    found = registry.discover("executors")
    names = {n: p.gpu_type for p in settings.pools for n in p.nvml_names if p.gpu_type}
    process = registry.load(found["process"])
    return {
        "process": process(
            data, gpu_pools=names, cpus=settings.cpus, memory_bytes=settings.memory_bytes
        )
    }


def channels(settings: Settings, listen: list[Address], public_url: str) -> dict[str, Channel]:
    """Return every way to notify; ``listen`` are the addresses that none may call."""
    rules = outbound.rules(
        settings.outbound_allow, settings.outbound_ports, (a.port for a in listen)
    )
    mail = None
    if settings.smtp_server and settings.sender_email:
        password = settings.sender_password
        mail = Mail(
            settings.smtp_server, settings.smtp_port, settings.sender_email,
            password.get_secret_value() if password else "", settings.smtp_tls,
        )  # fmt: skip
    around = Surroundings(GuardedHttp(rules), mail, public_url)
    found = registry.discover("channels")
    return {name: registry.load(m)(around) for name, m in found.items()}


def build(settings: Settings, listen: list[Address], public_url: str) -> Engine:
    """Wire everything for one server process on ``settings.data`` (already prepared)."""
    data = settings.data
    run_by = executors(settings, data)
    gpus = any(o.devices for e in run_by.values() for o in e.offers())
    kinds = registry.discover("workloads")
    decided = policy(settings, listen, gpus)
    deps = Deps(
        store=open_store(settings.database_url()),
        blobs=LocalBlobs(data / "blobs"),
        roots=roots(settings),
        clock=SystemClock(),
        ids=SystemIds(),
        secrets=FileSecrets(data / "secrets"),
        bus=LoopBus(),
        executors=run_by,
        workloads={name: registry.load(m)() for name, m in kinds.items()},
        pools=pools(settings),
        policy=decided,
        runner_url=f"unix:{data / 'run' / 'server.sock'}",
        public_url=public_url,
        channels=channels(settings, listen, public_url),
        words={"middleman": MiddlemanWords(), "orchestrator": OrchestratorWords()},
        boards=LocalBoards(data / CALIBRATIONS),
        model_check=Inspector(str(data)),
    )
    seat = Seat(deps.ids.token(16))
    return Engine(deps, Leases(decided.lease), seat, begun=deps.clock.monotonic())


def interpreter() -> str:
    """Return the interpreter of the ``default`` environment: the server's own."""
    return os.path.abspath(sys.executable)
