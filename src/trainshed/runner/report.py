"""How an Attempt ended, in the protocol's words and in sentences for people."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from trainshed.wire.v1 import Finished

SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


@dataclass(frozen=True, slots=True)
class Exit:
    """The raw end of the user's process: one of both is set."""

    code: int | None
    signal: int | None


def exit_of(status: int, wrapped: bool) -> Exit:
    """Return the end from a wait status; bwrap says 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Exit(None, -code)
    if wrapped and code > 128 and code - 128 in signal.valid_signals():
        return Exit(None, code - 128)
    return Exit(code, None)


def finished(
    end: Exit, cause: str | None, stopped_by: str | None, runtime_ms: int, message: str
) -> Finished:
    """Return the message; ``cause`` is a limit that was hit, or None for the process's own end."""
    own = "exited" if end.signal is None else "signalled"
    return Finished(cause or own, end.code, end.signal, stopped_by, runtime_ms, message)


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, name in SIZES:
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}".replace(".0 ", " ")
    return f"{n_bytes} bytes"


def duration(ms: int) -> str:
    """Return a length of time as people read it."""
    if ms < 10_000:
        return f"{ms / 1000:g} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    parts.append(f"{seconds} s" if seconds or not (hours or minutes) else "")
    return " ".join(part for part in parts if part)


def time_limit(limits: Mapping[str, int]) -> str:
    """Return the sentence for a job that ran too long."""
    return (
        f"The job was stopped at its time limit of {duration(limits['max_runtime_ms'])}. Raise "
        "max_runtime_s, or write checkpoints so that a retry goes on from there."
    )


def memory(limits: Mapping[str, int], peak: int | None) -> str:
    """Return the sentence for a job that used too much memory."""
    most = "" if peak is None else f" (it reached {size(peak)})"
    return (
        f"The job went over its memory limit of {size(limits['memory_bytes'])}{most} and was "
        "ended. Ask for more memory_bytes, or use smaller batches."
    )


def disk(limits: Mapping[str, int], used: int) -> str:
    """Return the sentence for a job that wrote too much."""
    return (
        f"The job's files reached {size(used)}; the limit is {size(limits['disk_bytes'])}. "
        "Write less, or remove old checkpoints as it goes."
    )


def own_end(end: Exit, stopped_by: str | None) -> str:
    """Return the sentence for a process that ended by itself or was stopped; "" for success."""
    if stopped_by is not None:
        return f"The job was stopped ({stopped_by})."
    if end.signal is not None:
        try:
            name = signal.Signals(end.signal).name
        except ValueError:
            name = str(end.signal)
        return f"The process was ended by signal {end.signal} ({name}); see the end of its log."
    if end.code:
        return f"The process ended with exit code {end.code}; see the end of its log."
    return ""
