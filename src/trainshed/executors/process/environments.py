"""Built environments on disk (their layout is the runner's): the total is kept below a limit."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

COMPLETE = "complete.json"
#: A fresh one is spared, so that whoever had it built gets to use it.
SPARED_S = 60.0


def trim(root: Path, limit_bytes: int, spared_s: float = SPARED_S) -> None:
    """Remove what no runner uses: half-built ones, then those not used for longest."""
    whole: list[tuple[float, int, Path]] = []
    for path in _folders(root):
        try:
            size = int(json.loads((path / COMPLETE).read_bytes())["size_bytes"])
            whole.append(((path / COMPLETE).stat().st_mtime, size, path))
        except (OSError, ValueError, KeyError):
            _remove(path)
    total = sum(size for _, size, _ in whole)
    for used_at, size, path in sorted(whole):
        if total <= limit_bytes:
            break
        if time.time() - used_at >= spared_s and _remove(path):
            total -= size


def _folders(root: Path) -> list[Path]:
    try:
        return [Path(e.path) for e in os.scandir(root) if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _remove(path: Path) -> bool:
    """Remove one unless it is in use."""
    with _locked(path.with_name(f"{path.name}.lock")) as mine:
        if mine:
            # First the mark: what is left of a removal that breaks off is no environment.
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        return mine


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock.exists() and lock.stat().st_ino == os.fstat(fd).st_ino
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)
