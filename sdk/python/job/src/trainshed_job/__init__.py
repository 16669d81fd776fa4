"""What a job may import: log metrics, ask whether to stop, find its folders.

Outside a job everything still works: metrics go nowhere, nobody asks to stop, and folders are
below the working directory. Nothing here raises into training, waits, or uses the network.
"""

from __future__ import annotations

from trainshed_job._folders import checkpoint_dir, input_dir, output_dir, resume_from
from trainshed_job._metrics import log
from trainshed_job._signals import (
    answer_sigterm,
    save_checkpoint,
    should_checkpoint,
    should_stop,
)

__all__ = [
    "checkpoint_dir",
    "input_dir",
    "log",
    "output_dir",
    "resume_from",
    "save_checkpoint",
    "should_checkpoint",
    "should_stop",
]

answer_sigterm()
