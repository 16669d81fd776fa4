"""Events in Middleman's words: twelve, each of one event of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainshed.dialects.middleman import schema
from trainshed.dialects.middleman.translate import DIALECT, public_id
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.ledger import MICRO

#: What can be subscribed to: the documents' names, in their order.
KINDS: Mapping[str, str] = {
    "job.queued": "accepted, waits for its place",
    "job.started": "has its place for the first time; it is being made ready there",
    "job.running": "its script has started, also after a pause or an eviction",
    "job.paused": "stopped by its owner",
    "job.resumed": "has a place again after a pause or an eviction, and goes on",
    "job.checkpointing": "its checkpoints are being kept",
    "job.evicted": "its place was taken or lost; it goes on later",
    "job.completed": "ended well",
    "job.failed": "ended badly, and is not run again",
    "job.cancelled": "ended because it was asked to",
    "credits.low": "a reservation left fewer credits than the operator's threshold",
    "credits.depleted": "a reservation left less than one credit",
}
#: The core's word -> this door's. ``job.starting`` is the other one: by whether it is the first.
NAMES: Mapping[str, str] = {
    "job.queued": "job.queued",
    "job.running": "job.running",
    "job.paused": "job.paused",
    "attempt.checkpointing": "job.checkpointing",
    "job.evicted": "job.evicted",
    "job.requeued": "job.evicted",
    "job.succeeded": "job.completed",
    "job.failed": "job.failed",
    "job.cancelled": "job.cancelled",
    "credits.low": "credits.low",
    "credits.depleted": "credits.depleted",
}
#: The status of a job at the moment that an event tells of.
STATUS: Mapping[str, schema.Status] = {
    "job.queued": "queued",
    "job.started": "provisioning",
    "job.running": "running",
    "job.paused": "paused",
    "job.resumed": "resuming",
    "job.checkpointing": "checkpointing",
    "job.evicted": "evicted",
    "job.completed": "completed",
    "job.failed": "failed",
    "job.cancelled": "cancelled",
}


class MiddlemanWords:
    """``ports.words.Words``: the jobs made through this door, and the account's credits."""

    kinds = KINDS

    def name(self, event: Event, job: Job | None) -> str | None:
        """Return this door's name of an event; None for other doors' jobs and for the rest."""
        if event.kind == "job.starting":
            name: str | None = "job.resumed" if event.data.get("attempt", 1) > 1 else "job.started"
        else:
            name = NAMES.get(event.kind)
        ours = job is not None and job.dialect == DIALECT
        return name if name is None or name not in STATUS or ours else None

    def data(
        self, event: Event, name: str, job: Job | None, public_id: str | None
    ) -> Mapping[str, Any]:
        """Return the job as it was then, or the whole credits that are left."""
        about = {"seq": event.seq, "message": event.data.get("message") or ""}
        if name not in STATUS:
            left, mark = (event.data.get(f"{n}_ucredits", 0) for n in ("available", "threshold"))
            return {**about, "available": left // MICRO, "threshold": mark // MICRO}
        return {**about, "job": None if job is None else _job(job, name)}


def _job(job: Job, name: str) -> Mapping[str, Any]:
    return {
        "id": public_id(job.id),
        "name": job.name,
        "status": STATUS[name],
        "gpu_type": job.spec.resources.gpu_type,
        "gpu_count": job.spec.resources.gpus,
        "retry_count": job.infrastructure_used,
    }
