"""How a dialect tells events to those who subscribed through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from trainshed.domain.events import Event
from trainshed.domain.job import Job


class Words(Protocol):
    """``kinds``: what can be subscribed to there, with what it means."""

    @property
    def kinds(self) -> Mapping[str, str]: ...

    def name(self, event: Event, job: Job | None) -> str | None:
        """Return which of ``kinds`` an event is; None: the dialect has no word for it, or for its
        Job.
        """

    def data(
        self, event: Event, name: str, job: Job | None, public_id: str | None
    ) -> Mapping[str, Any]:
        """Return what is told of it; ``public_id`` is what the dialect calls the Job, if it keeps
        ids of its own.
        """
