"""Open a store by URL. Nothing is built at import."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainshed.domain.errors import InvalidInput, Unavailable
from trainshed.ports.store import Store
from trainshed.store import migrate
from trainshed.store.sqlite import (
    READERS,
    FileLock,
    SqliteStore,
    backup_sqlite,
    lock_path,
)
from trainshed.store.writer import BOUND

__all__ = ["backup_sqlite", "open_store", "sqlite_path"]


def open_store(
    url: str, *, read_only: bool = False, readers: int = READERS, queue: int = BOUND
) -> Store:
    """Open, lock and migrate the database of ``url``.

    ``sqlite:///PATH`` (four slashes for an absolute path) or ``postgresql://…``. ``read_only``
    looks at a database that a server may be using: no lock, no migration, no writes. ``readers``:
    read connections (SQLite) or writing threads and as many readers again (PostgreSQL).
    ``queue``: how many writes may wait.

    Raises:
        Unavailable: another server has the SQLite file, or the database cannot be reached.
        InvalidInput: the URL is of no engine that we speak.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        return _open_sqlite(sqlite_path(url), read_only, readers, queue)
    if scheme in ("postgresql", "postgres"):
        from trainshed.store.postgres import open_postgres

        return open_postgres(url, read_only, max(readers, 8), queue)
    raise InvalidInput("The database URL must begin with sqlite:/// or postgresql://.")


def sqlite_path(url: str) -> Path:
    """Return the file of a ``sqlite:///`` URL."""
    path = unquote(urlsplit(url).path)
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise InvalidInput("The SQLite URL must name a file: sqlite:///relative or sqlite:////abs.")
    return Path(path[1:])


def _open_sqlite(path: Path, read_only: bool, readers: int, queue: int) -> Store:
    if read_only:
        return _look(path, readers, queue)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(lock_path(path))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        migrate.sqlite(path)
        return SqliteStore(path, lock, readers, queue, writes=True)
    except BaseException:
        lock.release()
        raise


def _look(path: Path, readers: int, queue: int) -> Store:
    if not path.exists():
        raise Unavailable("There is no database there.")
    try:
        lock: FileLock | None = FileLock(lock_path(path))
    except Unavailable:
        lock = None
    return SqliteStore(path, lock, readers, queue, writes=False)
