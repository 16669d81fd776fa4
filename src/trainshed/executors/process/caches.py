"""Caches of closed workloads on disk (their layout is the runner's): kept below a limit."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

#: Longer than any job that may be using a file.
SPARED_S = 3600.0


def trim(root: Path, limit_bytes: int, spared_s: float = SPARED_S) -> None:
    """Remove the oldest files until the rest has at most ``limit_bytes``, and no younger ones.

    What lies there was written by jobs: no link is followed, and every file is named by its open
    folder.
    """
    if not root.is_dir():
        return
    found: list[tuple[float, int, str, str]] = []
    for folder, _, names, fd in os.fwalk(root, follow_symlinks=False):
        for name in names:
            with contextlib.suppress(OSError):
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                found.append((seen.st_mtime, seen.st_size, folder, name))
    total = sum(size for _, size, _, _ in found)
    goes: dict[str, set[str]] = {}
    for at, size, folder, name in sorted(found):
        if total <= limit_bytes or time.time() - at < spared_s:
            break
        goes.setdefault(folder, set()).add(name)
        total -= size
    if goes:
        _remove(root, goes)


def _remove(root: Path, goes: dict[str, set[str]]) -> None:
    for folder, _, names, fd in os.fwalk(root, follow_symlinks=False):
        for name in goes.get(folder, set()) & set(names):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
