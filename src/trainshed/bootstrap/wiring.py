"""The composition root: settings in, a wired Engine out. Nothing is built at import (law 2)."""

from __future__ import annotations

import ipaddress
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from trainshed.blobs.local import LocalBlobs
from trainshed.bootstrap import registry
from trainshed.bootstrap.bus import LoopBus
from trainshed.bootstrap.clock import SystemClock, SystemIds
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.bootstrap.settings import Settings
from trainshed.domain.lease import LeaseTerms
from trainshed.domain.resources import Pool
from trainshed.ports.deps import Deps, Policy
from trainshed.ports.executor import Executor
from trainshed.ports.store import Store
from trainshed.store.engine import open_store
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases

#: Job uids lie far above those of people and of containers' subordinate ranges.
FIRST_UID, UIDS_EACH, UID_RANGES = 1_000_000_000, 10_000, 100_000


class Refused(Exception):
    """The server will not start like this; the message says what to change."""


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
        Refused: one is ill-formed, or reaches beyond loopback without ``allow_remote``.
    """
    out = []
    for text in settings.listen:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            raise Refused(f"--listen {text!r}: write HOST:PORT, for example 127.0.0.1:8000.")
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
        min_free_bytes=settings.min_free_bytes,
        presign_ttl_s=settings.presign_ttl_s,
        session_ttl_s=settings.session_days * 86_400,
        admin_grant_ucredits=settings.admin_credits * 1_000_000,
        local_grant_ucredits=settings.local_credits * 1_000_000,
        max_workers=settings.max_workers,
        images=images(settings),
        first_uid=first_uid(settings.data),
        lease=LeaseTerms(settings.heartbeat_s, settings.lease_s),
    )


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
        Refused: two have one name, or ``local-cpu`` is missing.
    """
    names = [p.name for p in settings.pools]
    if len(set(names)) < len(names) or "local-cpu" not in names:
        raise Refused("pools must have different names, and one must be 'local-cpu'.")
    return [p.pool() for p in settings.pools]


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
    )
    return Engine(deps, Leases(decided.lease))


def interpreter() -> str:
    """Return the interpreter of the ``default`` environment: the server's own."""
    return os.path.abspath(sys.executable)
