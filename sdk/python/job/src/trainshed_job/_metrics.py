"""Metrics: one appended line a call, read by the runner beside the job."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from trainshed_job._folders import job_folder

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_open: tuple[str, int] | None = None


def log(step: int | None = None, **metrics: Any) -> None:
    """Record numbers at ``step``; NaN and infinities are kept, what is no number is left out.

    One append to a local file: it never waits for the server and never raises. Without a step
    each name counts by itself. Safe from threads and forked workers.
    """
    try:
        values = {name: _number(value) for name, value in metrics.items()}
        numbers = {name: value for name, value in values.items() if value is not None}
        path = job_folder()
        if path is None or not numbers:
            return
        line = {"at_ms": int(time.time() * 1000), "step": _step(step), "values": numbers}
        os.write(_descriptor(path), json.dumps(line).encode() + b"\n")
    except Exception:  # noqa: S110 - a metric must never end a training
        pass


def _descriptor(folder: str) -> int:
    global _open
    if _open is None or _open[0] != folder:
        _open = (folder, os.open(os.path.join(folder, "metrics.jsonl"), _FLAGS, 0o644))
    return _open[1]


def _step(step: Any) -> int | None:
    return None if step is None else int(step)


def _number(value: Any) -> float | int | None:
    """Return a plain number; tensors and arrays of one element know ``item``."""
    try:
        plain = value if isinstance(value, int | float) else value.item()
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            return None
        return plain if isinstance(plain, int) else float(plain)
    except Exception:
        return None
