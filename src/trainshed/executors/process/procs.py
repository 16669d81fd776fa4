"""Processes as the executor sees them: told apart by pid and start time, ended for certain."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
HANDLE = "user.trainshed.runner"


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rfind(")") + 2 :].split()


def start_time(pid: int) -> int:
    """Return the start in ticks since boot; 0 if the process is gone or a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else 0


def alive(handle: Mapping[str, Any], boot: str) -> int | None:
    """Return the runner's pid if it is the very process of the handle, else None."""
    pid = int(handle.get("pid") or 0)
    if pid <= 1 or handle.get("boot_id") != boot:
        return None
    found = start_time(pid)
    return pid if found and found == handle.get("start_time") else None


def left_handle(place: Path) -> dict[str, Any]:
    """Return the handle that a runner left on its workspace: an attribute, or a file."""
    try:
        text = os.getxattr(place, HANDLE)
    except OSError:
        try:
            text = (place / HANDLE).read_bytes()
        except OSError:
            return {}
    parts = text.decode("ascii", "replace").split()
    if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
        return {}
    return {"pid": int(parts[0]), "start_time": int(parts[1]), "boot_id": parts[2]}


def identified(pids: Iterable[int]) -> set[tuple[int, int]]:
    """Return (pid, start time) of each that is there."""
    return {(pid, at) for pid in pids if (at := start_time(pid))}


def descendants(root: int) -> list[int]:
    """Return everything below ``root``."""
    below: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if len(fields) > 1:
            below.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    level = below.get(root, [])
    while level:
        found.extend(level)
        level = [child for pid in level for child in below.get(pid, [])]
    return found


def of_workspace(place: str) -> list[int]:
    """Return processes that belong to a workspace although no runner has them any more.

    They have its uid (as root each job has its own), its directory as their own, or its paths
    in their environment.
    """
    uid = _uid_of(place)
    mark = f"={place}/".encode()
    me = os.getpid()
    found = []
    for pid in _pids():
        if pid != me and (_has_uid(pid, uid) or _is_inside(pid, place) or _names(pid, mark)):
            found.append(pid)
    return found


def kill(tree: Iterable[tuple[int, int]]) -> list[int]:
    """SIGKILL each that still is the same process; return those that are not gone yet."""
    left = []
    for pid, at in tree:
        if start_time(pid) == at:
            left.append(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return left


def group_parents() -> list[str]:
    """Return the directories of the cgroup trees below which runners make theirs."""
    found = []
    for folder, names, _ in os.walk(CGROUPS):
        if os.path.basename(folder) == "trainshed":
            found.append(folder)
            names.clear()
    return found


def remove_groups(parents: Sequence[str], attempt_id: str) -> None:
    """Remove the cgroups that a killed runner could not; others may go while we look."""
    for parent in parents:
        with contextlib.suppress(OSError):
            os.rmdir(f"{parent}/{attempt_id}")


def remove_workspace(place: str) -> None:
    """Remove a workspace: at once where the job left nothing, else whatever is there.

    The folders lie in one that only the server writes, so that none can be swapped for a link.
    """
    try:
        with os.scandir(place) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(place)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def _uid_of(place: str) -> int | None:
    """Return the uid that only this job has, if it has one."""
    try:
        uid = os.stat(f"{place}/work").st_uid
    except OSError:
        return None
    return uid if uid not in (0, os.getuid()) else None


def _has_uid(pid: int, uid: int | None) -> bool:
    if uid is None:
        return False
    try:
        return os.stat(PROC / str(pid)).st_uid == uid
    except OSError:
        return False


def _is_inside(pid: int, place: str) -> bool:
    try:
        path = os.readlink(PROC / str(pid) / "cwd")
    except OSError:
        return False
    return path == place or path.startswith(f"{place}/")


def _names(pid: int, mark: bytes) -> bool:
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return b"TRAINSHED_OUTPUT_DIR" + mark in environ
