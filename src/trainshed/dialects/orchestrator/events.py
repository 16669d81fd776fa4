"""Events as the operator's mail and chat tell them: the core's words, with this API's address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.usecases.words import Native


class OrchestratorWords(Native):
    """``ports.words.Words``: a job is called by its ``train-…`` id, and found there."""

    def data(
        self, event: Event, name: str, job: Job | None, public_id: str | None
    ) -> Mapping[str, Any]:
        """Return what the log says, and where the job is to be seen."""
        found = super().data(event, name, job, public_id)
        return found if public_id is None else {**found, "path": f"/jobs/{public_id}"}
