"""The few facts and calls of Linux that the runner needs and Python does not offer."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Mapping
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNET = 0x40000000

_LIBC = ctypes.CDLL(None, use_errno=True)


def monotonic() -> float:
    """Return seconds since boot, suspended time included (D12)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def prctl(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError."""
    _checked(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def new_network() -> None:
    """Give the calling thread a network namespace of its own. Raises OSError."""
    _checked(_LIBC.unshare(CLONE_NEWNET))


def enter_network(fd: int) -> None:
    """Move the calling thread into the network namespace of ``fd``. Raises OSError."""
    _checked(_LIBC.setns(fd, CLONE_NEWNET))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_disk(path: str) -> None:
    """Write everything of the file system of ``path`` to disk, as far as the kernel can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _LIBC.syncfs(fd)
    finally:
        os.close(fd)


def boot_id() -> str:
    """Return the kernel's id of this boot: pids of another boot mean nothing."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def read_text(path: str) -> str:
    """Return a small file of /proc or a cgroup; empty if it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name (index 0: state); empty if gone."""
    text = read_text(f"/proc/{pid}/stat")
    return text[text.rfind(")") + 2 :].split() if text else []


def start_time(pid: int) -> int:
    """Return the process's start in clock ticks since boot; 0 if it is gone."""
    found = stat_fields(pid)
    return int(found[19]) if len(found) > 19 else 0


def write_durably(path: str, data: Mapping[str, Any]) -> None:
    """Write a JSON file so that after a crash it is whole or absent. Raises OSError."""
    part = f"{path}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(data).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(part, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
