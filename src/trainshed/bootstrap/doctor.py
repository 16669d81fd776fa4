"""What the machine can do and whether the data is sound; both only look."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from typing import NamedTuple

from trainshed.bootstrap.boards import LocalBoards
from trainshed.bootstrap.settings import Settings
from trainshed.bootstrap.wiring import executors, store_only
from trainshed.domain.resources import GIB

#: The first SQLite without the WAL-reset fault.
SAFE_SQLITE = (3, 51, 3)


class Line(NamedTuple):
    """One finding. ``mark`` is ok, note or bad."""

    mark: str
    what: str
    found: str
    advice: str = ""


def verify(settings: Settings) -> list[str]:
    """Return every broken invariant in words; nothing is changed."""
    store = store_only(settings)
    try:
        return store.verify()
    finally:
        store.close()


def machine(settings: Settings) -> list[Line]:
    """Return findings about this machine and the data directory."""
    return [
        _python(),
        _sqlite(),
        _sandbox(),
        _network(),
        _containers(settings),
        _boards(),
        _cgroups(),
        _disk(settings),
        *_offers(settings),
    ]


def _python() -> Line:
    return Line("ok", "Python", platform.python_version())


def _sqlite() -> Line:
    try:
        import pysqlite3

        version, tuple_ = pysqlite3.sqlite_version, pysqlite3.sqlite_version_info
    except ImportError:
        version, tuple_ = sqlite3.sqlite_version, sqlite3.sqlite_version_info
    if tuple_ >= SAFE_SQLITE:
        return Line("ok", "SQLite", version)
    advice = "Before 3.51.3; Trainshed writes and checkpoints by one connection, so it is not hit."
    return Line("note", "SQLite", version, f"{advice} pip install 'trainshed[sqlite-latest]'.")


def _network() -> Line:
    absent = [name for name in ("slirp4netns", "ip") if shutil.which(name) is None]
    if os.getuid() == 0 and not absent:
        return Line("ok", "job network", "egress")
    why = f"{' and '.join(absent)} not installed" if absent else "not run as root"
    advice = "Once several people share the server its jobs have no network."
    return Line("note", "job network", f"no egress: {why}", advice)


def _sandbox() -> Line:
    found = shutil.which("bwrap")
    if found:
        return Line("ok", "sandbox", "bubblewrap: jobs run in namespaces of their own")
    level = "own uid, no namespaces" if os.geteuid() == 0 else "none"
    return Line("note", "sandbox", level, "Install bubblewrap to isolate jobs from the server.")


def container_engine(settings: Settings) -> str | None:
    """Return the program that would run jobs that name an image, by its name."""
    asked = settings.container_engine
    names = ("podman", "docker") if asked == "auto" else (asked,)
    return next((name for name in names if shutil.which(name)), None)


def _containers(settings: Settings) -> Line:
    found = container_engine(settings)
    if found is None:
        return Line("note", "containers", "none", "Install podman to run jobs that name an image.")
    return Line("ok", "containers", f"{found}: jobs may name an image")


def _boards() -> Line:
    wing = LocalBoards()
    advice = wing.missing()
    if advice:
        return Line("note", "boards", "offline", advice)
    return Line("ok", "boards", f"{len(wing.facts())}, emulated")


def _cgroups() -> Line:
    for where in ("/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/memory/tasks"):
        if os.access(os.path.dirname(where), os.W_OK) and os.path.exists(where):
            return Line("ok", "limits", "cgroups: memory, processes and CPU are enforced")
    return Line("note", "limits", "rlimits and a watchdog", "Run as root or delegate a cgroup.")


def _disk(settings: Settings) -> Line:
    folder = settings.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    mark = "ok" if free > 10 * settings.min_free_bytes else "note"
    if free < settings.min_free_bytes:
        mark = "bad"
    advice = "" if mark == "ok" else "Uploads and jobs are refused when it is full."
    return Line(mark, "disk", f"{free / GIB:.1f} GiB free for {settings.data}", advice)


def _offers(settings: Settings) -> list[Line]:
    out = []
    for executor in executors(settings, settings.data).values():
        for offer in executor.offers():
            gpus = f", {len(offer.devices)} × {offer.gpu_type}" if offer.devices else ", no GPU"
            size = f"{offer.millicpus / 1000:g} CPUs, {offer.memory_bytes / GIB:.1f} GiB{gpus}"
            out.append(Line("ok", f"offer {offer.id}", size))
    return out
