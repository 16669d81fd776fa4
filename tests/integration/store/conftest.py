"""One store for each engine: SQLite always, PostgreSQL from its wheel or ``TRAINSHED_TEST_PG``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import stores
from tests.support.stores import Postgres

from trainshed.ports.store import Store
from trainshed.store.engine import open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of the newest schema."""
    if request.param == "sqlite":
        return stores.sqlite(tmp_path / "store.db")
    fresh: Postgres = request.getfixturevalue("pg_server")
    return fresh()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    fresh: Postgres = request.getfixturevalue("pg_server")
    return fresh.empty()


@pytest.fixture
def pg_url(pg_server: Postgres) -> str:
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
