"""One store for each engine: SQLite always, PostgreSQL from its wheel or ``TRAINSHED_TEST_PG``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainshed.ports.store import Store
from trainshed.store.engine import open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    fresh: Callable[[], str] = request.getfixturevalue("pg_server")
    return fresh()


@pytest.fixture
def pg_url(pg_server: Callable[[], str]) -> str:
    """A fresh PostgreSQL database."""
    return pg_server()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An open store, sound at the end."""
    opened = open_store(url)
    yield opened
    broken = opened.verify()
    opened.close()
    assert broken == []
