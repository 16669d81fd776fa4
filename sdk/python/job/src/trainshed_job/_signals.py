"""What the platform asks of a job, and checkpoints that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from trainshed_job._folders import checkpoint_dir, job_folder

_asks = False


def should_stop() -> bool:
    """Return whether the job was asked to end: write a checkpoint and leave soon."""
    global _asks
    _asks = True
    folder = job_folder()
    return folder is not None and os.path.exists(os.path.join(folder, "stop"))


def answer_sigterm() -> None:
    """In a job, let SIGTERM leave the process alive if it asks ``should_stop()``.

    The order to end comes as a flag and as SIGTERM; the default of the signal would end the script
    before it could see the flag. One that never asks ends at once, as it always would. A handler
    that the script has set is left alone.
    """
    ours = threading.current_thread() is threading.main_thread()
    if job_folder() is None or not ours:
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_unless_asked)


def _end_unless_asked(number: int, _: object) -> None:
    if not _asks:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def should_checkpoint() -> bool:
    """Return whether a checkpoint was asked for. True once a request: write it then."""
    folder = job_folder()
    if folder is None:
        return False
    try:
        os.unlink(os.path.join(folder, "checkpoint"))
    except OSError:
        return False
    return True


def save_checkpoint(name: str, write: Callable[[Path], object], keep: int | None = 1) -> Path:
    """Have ``write(path)`` make a file or fill a folder, then put it in place as ``name``.

    A job that is killed meanwhile leaves the checkpoint before it untouched. ``keep`` checkpoints
    stay, the newest; None keeps all. Raises what ``write`` raises.
    """
    if not name or name.startswith(".") or "/" in name:
        raise ValueError("name must be a plain file name")
    base = checkpoint_dir()
    part = base / f".tmp-{uuid.uuid4().hex}"
    try:
        write(part)
        target = base / name
        if target.is_dir() and not target.is_symlink():
            old = base / f".tmp-{uuid.uuid4().hex}"
            target.rename(old)
            part.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            part.replace(target)
    except BaseException:
        _remove(part)
        raise
    _forget_old(base, target, keep)
    return target


def _forget_old(base: Path, newest: Path, keep: int | None) -> None:
    if keep is None:
        return
    others = [path for path in base.iterdir() if path != newest and not path.name.startswith(".")]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in others[max(keep - 1, 0) :]:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
