"""The store on SQLite: one writer thread, a few readers, one server process for each file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, LifoQueue
from types import ModuleType
from typing import Any, TypeVar

from trainshed.domain.errors import Overloaded, Unavailable
from trainshed.ports.store import Tx
from trainshed.store.link import SqliteLink, sqlite_error
from trainshed.store.uow import Repos, Work
from trainshed.store.verify import verify
from trainshed.store.writer import Writer

T = TypeVar("T")

READERS = 4
WAIT_S = 10.0

_COMMON = ("busy_timeout = 10000", "wal_autocheckpoint = 0", "foreign_keys = ON")
_WRITER = (
    *_COMMON, "journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864",
    "cache_size = -65536", "temp_store = MEMORY",
)  # fmt: skip
_READER = (*_COMMON, "cache_size = -16384", "temp_store = MEMORY", "query_only = ON")


def driver() -> ModuleType:
    """Return pysqlite3 (a newer SQLite) if it is installed, else the standard library's."""
    try:
        import pysqlite3
    except ImportError:
        return sqlite3
    found: ModuleType = pysqlite3
    return found


def connect(path: Path, pragmas: tuple[str, ...], read_only: bool = False) -> Any:
    """Open in autocommit mode."""
    name = f"{path.absolute().as_uri()}?mode=ro" if read_only else str(path)
    connection = driver().connect(
        name, isolation_level=None, check_same_thread=False, cached_statements=512, uri=read_only
    )
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


class FileLock:
    """Says that this process serves the database; the kernel drops it when the process ends."""

    def __init__(self, path: Path) -> None:
        """Take it at once.

        Raises:
            Unavailable: another process has it.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise Unavailable(
                f"The database is in use by another server (process {holder or 'unknown'}): one"
                " server for each SQLite file. Stop it, or use PostgreSQL for several servers."
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def lock_path(path: Path) -> Path:
    """Return the lock file beside a database."""
    return path.with_name(path.name + ".lock")


class Readers:
    """Connections that cannot write, each with its repositories."""

    def __init__(self, path: Path, n: int, read_only: bool = False) -> None:
        """Open all of them, so that a full disk cannot stop reading later."""
        self._free: LifoQueue[tuple[Any, Repos]] = LifoQueue()
        self._n = n
        for _ in range(n):
            connection = connect(path, _READER, read_only)
            self._free.put((connection, Repos(SqliteLink(connection, writing=False))))

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run on one snapshot."""
        connection, repos = self.take()
        work = Work(repos)
        try:
            connection.execute("BEGIN")
            return fn(work)
        finally:
            work.end()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._free.put((connection, repos))

    def take(self) -> tuple[Any, Repos]:
        """Borrow one.

        Raises:
            Overloaded: none came back in time.
        """
        try:
            return self._free.get(timeout=WAIT_S)
        except Empty:
            raise Overloaded("Too many reads at once; try again.", retry_after_s=1) from None

    def give(self, taken: tuple[Any, Repos]) -> None:
        """Give back what ``take`` lent."""
        self._free.put(taken)

    def close(self) -> None:
        """Close all, waiting for reads in progress."""
        for _ in range(self._n):
            try:
                self._free.get(timeout=WAIT_S)[0].close()
            except Empty:
                return
        self._n = 0


class SqliteStore:
    """``ports.store.Store`` on one SQLite file, already migrated and locked."""

    def __init__(
        self, path: Path, lock: FileLock | None, readers: int, queue: int, writes: bool
    ) -> None:
        """Start the writer, if it ``writes``, and open the readers. Without the lock another
        process may be writing: then the file is opened so that this one cannot even checkpoint.
        """
        self._lock = lock
        self._writer = Writer(lambda: connect(path, _WRITER), queue) if writes else None
        self._readers = Readers(path, readers, read_only=lock is None)

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run in a transaction; return after the commit."""
        return self.submit(fn).result()

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        """Queue for the writer."""
        if self._writer is None:
            raise Unavailable("The store was opened read-only.")
        if self._writer.is_current_thread:
            raise RuntimeError("A transaction may not begin another one.")
        return self._writer.submit(fn)

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run on a snapshot."""
        return self._readers.read(fn)

    def verify(self) -> list[str]:
        """Check every invariant."""
        taken = self._readers.take()
        connection, repos = taken
        try:
            connection.execute("BEGIN")
            return verify(repos.link)
        finally:
            connection.execute("ROLLBACK")
            self._readers.give(taken)

    def backup(self, target: str) -> None:
        """Copy with SQLite's backup API, on one snapshot; the writer goes on meanwhile."""
        taken = self._readers.take()
        try:
            copy(taken[0], Path(target))
        finally:
            self._readers.give(taken)

    def close(self) -> None:
        """Finish queued writes and let go of the file; twice is fine."""
        self._readers.close()
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            self._lock.release()


def copy(connection: Any, target: Path) -> None:
    """Write the connection's database to ``target``: whole and synced, or not at all.

    Raises:
        StorageFull: no room for it.
    """
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        out = driver().connect(str(partial), isolation_level=None)
        try:
            connection.backup(out, pages=-1)
            out.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            out.close()
        partial.chmod(0o600)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except Exception as error:
        partial.unlink(missing_ok=True)
        raise sqlite_error(error) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def backup_sqlite(source: Path, target: Path) -> None:
    """Copy a database whether or not a server is using it, without disturbing one.

    Raises:
        Unavailable: there is no such database. StorageFull: no room.
    """
    if not source.exists():
        raise Unavailable("There is no database there.")
    try:
        lock: FileLock | None = FileLock(lock_path(source))
    except Unavailable:
        lock = None
    try:
        connection = connect(source, ("busy_timeout = 10000",), read_only=lock is None)
        try:
            copy(connection, target)
        finally:
            connection.close()
    finally:
        if lock is not None:
            lock.release()
