"""The Orchestrator has a word for everything the engine can say."""

from __future__ import annotations

from trainshed.dialects.orchestrator import errors, translate
from trainshed.domain.schedule import Phase
from trainshed.domain.states import AttemptState
from trainshed.http.errors import TABLE


def test_every_code_phase_and_state_has_a_word() -> None:
    assert set(errors.TYPES) == set(TABLE)
    assert set(translate.STATUS) == set(Phase)
    assert set(translate.ATTEMPT) == set(AttemptState)
    assert set(translate.STATUSES) == {"pending", "running", "completed", "failed", "retrying"}
