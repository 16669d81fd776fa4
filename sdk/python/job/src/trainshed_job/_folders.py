"""Where a job's folders are."""

from __future__ import annotations

import os
from pathlib import Path


def output_dir() -> Path:
    """Return the folder whose files become the Job's artifacts."""
    return _folder("TRAINSHED_OUTPUT_DIR", "output")


def checkpoint_dir() -> Path:
    """Return the folder that the next Attempt finds again if this one ends early."""
    return _folder("TRAINSHED_CHECKPOINT_DIR", "checkpoints")


def input_dir() -> Path:
    """Return the folder with the Job's inputs: the working directory at start."""
    return Path(os.environ.get("TRAINSHED_INPUT_DIR") or ".")


def resume_from() -> Path | None:
    """Return the folder with the checkpoint to go on from, or None at a first start."""
    path = os.environ.get("TRAINSHED_RESUME_FROM")
    return Path(path) if path else None


def job_folder() -> str | None:
    """Return the folder of flags and metrics shared with the runner; None outside a job."""
    output = os.environ.get("TRAINSHED_OUTPUT_DIR")
    if not output or not os.environ.get("TRAINSHED_JOB_ID"):
        return None
    return os.path.join(os.path.dirname(output), "job")


def _folder(variable: str, name: str) -> Path:
    path = Path(os.environ.get(variable) or name)
    path.mkdir(parents=True, exist_ok=True)
    return path
