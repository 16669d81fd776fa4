"""The store on PostgreSQL, for several servers: psycopg 3 from SQLAlchemy's pool, threads that
write.

Writes run at READ COMMITTED: every row that a decision reads is locked first (``Link.for_update``),
and money by the account's row (D11). Reads run at REPEATABLE READ, read-only: one snapshot.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError

from trainshed.domain.errors import Overloaded, Unavailable
from trainshed.ports.crash import crashpoint
from trainshed.ports.store import Tx
from trainshed.store import claim, migrate
from trainshed.store.link import Link, ReadOnly, Row, bad_value, constraint, full
from trainshed.store.uow import Repos, Work
from trainshed.store.verify import verify

T = TypeVar("T")

TRIES = 20
POOL_WAIT_S = 10
#: A connection unused for so long is asked whether it lives before it is used.
PING_AFTER_S = 1.0


class Again(Exception):
    """The transaction met another one; it is run again."""


@lru_cache(maxsize=4096)
def rendered(sql: str) -> bytes:
    """Return our SQL with psycopg's placeholders."""
    return sql.replace("?", "%s").encode()


def translate(error: Exception) -> Exception:
    """Return the domain's error for a driver's, or the error itself if it is our mistake."""
    if isinstance(error, (pg.SerializationFailure, pg.DeadlockDetected)):
        return Again()
    if isinstance(error, (pg.DiskFull, pg.IoError, pg.ConfigurationLimitExceeded)):
        return full()
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return ReadOnly("Store.read may not write.")
    if isinstance(error, psycopg.IntegrityError):
        return constraint(str(error))
    if isinstance(error, (psycopg.DataError, UnicodeEncodeError, OverflowError)):
        return bad_value(error)
    if isinstance(error, (psycopg.OperationalError, SQLAlchemyError)):
        return Unavailable("The database cannot be reached; try again.", retry_after_s=2)
    return error


class PgLink(Link):
    """A psycopg connection inside a transaction that its owner ends."""

    engine = "postgresql"

    def __init__(self, connection: psycopg.Connection[Row], writing: bool) -> None:
        """Take a connection."""
        self._connection = connection
        self.writing = writing
        self.for_update = claim.FOR_UPDATE if writing else ""

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute; return the number of rows changed."""
        return self._cursor(sql, values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute for every row, pipelined."""
        try:
            with self._connection.cursor() as cursor:
                cursor.executemany(rendered(sql), rows)
        except Exception as error:
            raise translate(error) from error

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows."""
        return self._cursor(sql, values).fetchall()

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row, if any."""
        return self._cursor(sql, values).fetchone()

    def lock_key(self, number: int) -> None:
        """Wait for and hold a lock until commit."""
        self._cursor("SELECT pg_advisory_xact_lock(?)", (number,))

    def commit(self) -> None:
        """Make it durable."""
        try:
            self._connection.commit()
        except Exception as error:
            raise translate(error) from error

    def _cursor(self, sql: str, values: Sequence[Any]) -> psycopg.Cursor[Row]:
        try:
            return self._connection.execute(rendered(sql), values or None)
        except Exception as error:
            raise translate(error) from error


class PgStore:
    """``ports.store.Store`` on a migrated PostgreSQL database."""

    def __init__(self, engine: Engine, writers: int, queue: int, read_only: bool) -> None:
        """Start the threads; connections are made when first needed."""
        self._engine = engine
        self._read_only = read_only
        self._room = threading.BoundedSemaphore(queue)
        self._threads = ThreadPoolExecutor(writers, thread_name_prefix="store-writer")
        self._inside = threading.local()

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run in a transaction; return after the commit."""
        return self.submit(fn).result()

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        """Queue for a writing thread."""
        if self._read_only:
            raise Unavailable("The store was opened read-only.")
        if getattr(self._inside, "fn", False):
            raise RuntimeError("A transaction may not begin another one.")
        if not self._room.acquire(blocking=False):
            raise Overloaded("Too many writes at once; try again shortly.", retry_after_s=1)
        try:
            future = self._threads.submit(self._retrying, fn)
        except RuntimeError as error:
            self._room.release()
            raise Unavailable("The store is closed.") from error
        future.add_done_callback(lambda _: self._room.release())
        return future

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run on one snapshot."""
        return self._with_connection(False, lambda link: self._reading(link, fn))

    def verify(self) -> list[str]:
        """Check every invariant."""
        return self._with_connection(False, verify)

    def backup(self, target: str) -> None:
        """Refuse: PostgreSQL has better means."""
        raise Unavailable(
            "PostgreSQL is backed up by pg_dump, or base backups and WAL archiving; not from here."
        )

    def close(self) -> None:
        """Finish queued writes and close all connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()

    def _retrying(self, fn: Callable[[Tx], T]) -> T:
        self._inside.fn = True
        try:
            for attempt in range(TRIES):
                try:
                    return self._with_connection(True, lambda link: self._writing(link, fn))
                except Again:
                    time.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))
        finally:
            self._inside.fn = False
        raise Overloaded("Too many conflicting writes; try again.", retry_after_s=1)

    def _with_connection(self, writing: bool, act: Callable[[PgLink], T]) -> T:
        try:
            lent = self._engine.raw_connection()
        except Exception as error:
            raise translate(error) from error
        try:
            connection: Any = lent.driver_connection
            connection.isolation_level = (
                psycopg.IsolationLevel.READ_COMMITTED
                if writing
                else psycopg.IsolationLevel.REPEATABLE_READ
            )
            connection.read_only = not writing
            try:
                return act(PgLink(connection, writing))
            finally:
                _rest(connection)
                if connection.closed:
                    lent.invalidate()
        finally:
            lent.close()

    def _reading(self, link: PgLink, fn: Callable[[Tx], T]) -> T:
        work = Work(Repos(link))
        try:
            return fn(work)
        finally:
            work.end()

    def _writing(self, link: PgLink, fn: Callable[[Tx], T]) -> T:
        repos = Repos(link)
        work = Work(repos)
        try:
            value = fn(work)
            repos.flush()
        finally:
            work.end()
        crashpoint("store.before_commit")
        link.commit()
        crashpoint("store.after_commit")
        return value


def _rest(connection: Any) -> None:
    """Leave no transaction open."""
    if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()


def _rested(connection: Any, record: Any) -> None:
    record.info["since"] = time.monotonic()


def _alive(connection: Any, record: Any, _: Any) -> None:
    """Ask a connection that rested for a while whether it still lives; under load that would be a
    round trip for nothing. The pool replaces a dead one, and all that are older.
    """
    if time.monotonic() - record.info.get("since", 0.0) < PING_AFTER_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def open_postgres(url: str, read_only: bool, writers: int, queue: int) -> PgStore:
    """Connect, migrate (one server at a time), and start.

    Raises:
        Unavailable: it cannot be reached, or a newer version made the schema.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=2 * writers,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_recycle=1800,
    )
    event.listen(engine, "checkin", _rested)
    event.listen(engine, "checkout", _alive)
    try:
        if not read_only:
            with engine.begin() as connection:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": claim.MIGRATION_LOCK}
                )
                migrate.upgrade_if_older(connection)
    except BaseException as error:
        engine.dispose()
        if isinstance(error, SQLAlchemyError):
            raise Unavailable("The PostgreSQL database cannot be opened; check its URL.") from error
        raise
    return PgStore(engine, writers, queue, read_only)
