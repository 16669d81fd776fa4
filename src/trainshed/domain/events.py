"""Facts that happened. Each is a row written in the transaction that made it true (law 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Every event kind with what it means; the documentation is generated from this table.
KINDS = {
    "job.queued": "accepted, waiting for placement",
    "job.starting": "placed; an attempt was leased",
    "job.running": "the user's process started",
    "job.retrying": "an attempt failed; the job runs again after back-off",
    "job.requeued": "an attempt was lost; the job runs again",
    "job.evicting": "asked to save and leave: for a higher priority, or for an operator's drain",
    "job.evicted": "left its machine; waits to resume from its last checkpoint",
    "job.resuming": "placed again; continues from a checkpoint",
    "job.pausing": "asked to stop at a checkpoint",
    "job.paused": "stopped; resumes from its last checkpoint",
    "job.resumed": "asked to run again",
    "job.cancelling": "asked to stop for good",
    "job.succeeded": "ended with exit code 0",
    "job.failed": "ended otherwise, with no retries left",
    "job.cancelled": "ended because it was asked to",
    "job.deleted": "removed with its artifacts; ledger and receipt stay",
    "job.expired": "old enough: an attempt's logs, metrics and files were removed",
    "job.priority": "its priority was changed",
    "attempt.checkpointing": "a snapshot of the checkpoint directory is being taken",
    "attempt.checkpoint": "a checkpoint was committed",
    "attempt.artifacts": "the output directory was committed",
    "attempt.truncated": "a stream reached its limit; the rest was dropped",
    "credits.held": "credits were reserved",
    "credits.captured": "a hold was charged and the rest released",
    "credits.released": "a hold was released without a charge",
    "credits.granted": "credits were added",
    "credits.low": "a reservation left fewer credits available than the operator's threshold",
    "credits.depleted": "a reservation left less than one credit available",
    "schedule.created": "a schedule was made",
    "schedule.updated": "a schedule was changed, paused or resumed",
    "schedule.deleted": "a schedule was removed; its jobs stay",
    "schedule.fired": "a schedule made a job at its due time, or when asked to",
    "schedule.skipped": "a due time passed without a job, by the schedule's policy",
    "schedule.failed": "a schedule came due and no job could be made; the next one is tried",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. ``seq`` is given by the store at commit; cursors follow it."""

    kind: str
    account_id: str
    at: datetime
    job_id: str | None = None
    attempt_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
