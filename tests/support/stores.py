"""New databases for tests, copied from one that was migrated once."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from pathlib import Path

from trainshed.store.engine import open_store

_numbers = itertools.count(1)


def sqlite(path: Path) -> str:
    """Make a database of the newest schema; return its URL."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        open_store(f"sqlite:///{path}").close()
        assert not path.with_name("template.db-wal").exists()
        return path.read_bytes()


class Postgres:
    """Databases on one PostgreSQL server; ``pattern`` makes one's URL of its name."""

    def __init__(self, admin: str, pattern: str) -> None:
        self._admin, self._pattern = admin, pattern

    def __call__(self) -> str:
        """Make a database of the newest schema; return its URL."""
        return self._pattern.format(self._make(f" TEMPLATE {self._template}"))

    def empty(self) -> str:
        """Make a database without any table; return its URL."""
        return self._pattern.format(self._make(""))

    @functools.cached_property
    def _template(self) -> str:
        name = self._make("")
        open_store(self._pattern.format(name)).close()
        return name

    def _make(self, options: str) -> str:
        import psycopg

        name = f"store_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}{options}".encode())
        return name
