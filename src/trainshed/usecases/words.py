"""Events in the words of a dialect; the core's own are one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainshed.domain.events import KINDS, Event
from trainshed.domain.job import Job
from trainshed.ports.deps import Deps
from trainshed.ports.words import Words


class Native:
    """``ports.words.Words`` of the core itself: it has a word for everything."""

    kinds = KINDS

    def name(self, event: Event, job: Job | None) -> str:
        """Return the event's own kind."""
        return event.kind

    def data(
        self, event: Event, name: str, job: Job | None, public_id: str | None
    ) -> Mapping[str, Any]:
        """Return what the log says."""
        told = None
        if job is not None:
            told = {
                "id": public_id or job.id,
                "name": job.name,
                "dialect": job.dialect,
                "workload": job.spec.workload,
                "retry_count": job.retries_used,
            }
        return {
            "seq": event.seq,
            "account_id": event.account_id,
            "job_id": event.job_id,
            "attempt_id": event.attempt_id,
            "job": told,
            "message": event.data.get("message") or "",
            "details": dict(event.data),
        }


NATIVE = Native()


def words_of(deps: Deps, dialect: str) -> Words:
    """Return how a dialect tells events; in the core's own words if it has none."""
    return deps.words.get(dialect, NATIVE)
