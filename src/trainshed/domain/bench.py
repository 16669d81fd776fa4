"""Benches: real boards at somebody's desk, and what is to be measured on them.

A bench is attached by its own program, which asks for work and so keeps it attached. What a Job
wants measured waits until a bench of its board takes it; a bench that falls silent gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.job import Job
from trainshed.domain.pricing import BOARDS

#: A bench that was not heard of for longer is not there.
LEASE = timedelta(seconds=30)
#: What an image with its inputs, and what was measured, may have.
MAX_PARCEL_BYTES = 8 * 1024**2
MAX_FAILURE = 2000


@dataclass(frozen=True, slots=True)
class Bench:
    """A board that is attached. ``account_id``: whose key attached it; ``name``: for people."""

    id: str
    board: str
    name: str
    account_id: str
    attached_at: datetime
    seen_at: datetime

    def here(self, now: datetime) -> bool:
        """Whether it was heard of lately."""
        return now - self.seen_at <= LEASE


def is_attached(benches: Iterable[Bench], board: str, now: datetime) -> bool:
    """Whether one of the board is there."""
    return any(one.board == board and one.here(now) for one in benches)


def measures_on(job: Job) -> str:
    """Return the board on which a Job measures, '' for none.

    Only the closed workload whose plan names this pool gets a Job into it, and decides params and
    labels: no code of a Job's owner ever writes to a board.
    """
    asked = job.pool == BOARDS.name and job.spec.params.get("bench") is True
    return job.spec.labels.get("board", "") if asked else ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one Attempt wants measured, once. ``bench_id``: which bench has it; ``answered_at``:
    when that said how it went.
    """

    attempt_id: str
    account_id: str
    board: str
    asked_at: datetime
    bench_id: str | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bench said: what it measured, in the board workload's own form, or why it could
    not, in words.
    """

    parcel: bytes = b""
    failure: str = ""
