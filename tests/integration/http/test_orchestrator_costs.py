"""What callers of the Orchestrator's door may cost the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.support.deps import BASE, NO_LIMITS, World, world

from trainshed.dialects.native import door as native_door
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.domain.errors import Unavailable
from trainshed.http.hall import ADDRESS, STANDARD, HttpSettings

DOORS = [native_door(), orchestrator_door(60.0)]


def here(w: World) -> TestClient:
    """A client on the machine itself."""
    return TestClient(w.app, BASE, client=("127.0.0.1", 50000), raise_server_exceptions=False)


def test_health_asks_the_database_once_a_second_however_many_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing limits or counts who asks: it may cost next to nothing."""
    settings = HttpSettings(rate_limits=NO_LIMITS)
    with world(tmp_path, settings=settings, doors=DOORS) as w:
        http = here(w)
        read, reads = w.deps.store.read, []
        w.clock.advance(5)

        def counted(fn: Any) -> Any:
            reads.append(fn)
            return read(fn)

        monkeypatch.setattr(w.deps.store, "read", counted)
        answers = [http.get("/health").json() for _ in range(20)]
        assert {a["status"] for a in answers} == {"healthy"}
        assert len(reads) == 1

        def fails(fn: Any) -> Any:
            raise Unavailable("gone")

        monkeypatch.setattr(w.deps.store, "read", fails)
        w.clock.advance(2)
        assert http.get("/health").json()["status"] == "degraded"
        monkeypatch.undo()


def test_a_person_has_their_own_limit_here_too(tmp_path: Path) -> None:
    settings = HttpSettings(rate_limits={STANDARD: 2, ADDRESS: 100}, open_local=True)
    with world(tmp_path, settings=settings, doors=DOORS) as w:
        http = here(w)
        found = [http.get("/jobs", headers=w.admin.headers).status_code for _ in range(4)]
        assert found == [200, 200, 429, 429]
        assert [http.get("/jobs").status_code for _ in range(4)] == [200] * 4
