"""One connection of the driver, both engines alike: cached SQL, plain tuples, our own errors.

Hot statements skip SQLAlchemy's compiler: their text is fixed, so it is rendered once per engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from trainshed.domain.errors import Conflict, InvalidInput, StorageFull, TrainshedError, Unavailable

Row = tuple[Any, ...]


class ReadOnly(Exception):
    """A ``Store.read`` tried to write: a mistake of the caller, never of a user."""


class Link(ABC):
    """Statements of one transaction. ``for_update`` is appended to reads that guard a write."""

    engine: str
    writing: bool
    for_update: str = ""

    @abstractmethod
    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute; return the number of rows changed."""

    @abstractmethod
    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute for every row."""

    @abstractmethod
    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows."""

    @abstractmethod
    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row, if any."""

    def scalar(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self.one(sql, values)
        return None if row is None else row[0]

    def lock_key(self, number: int) -> None:  # noqa: B027  nothing to do with a single writer
        """Hold a transaction-level lock until commit; nothing with a single writer."""


_FULL, _IOERR, _READONLY, _CONSTRAINT, _BUSY, _TOOBIG = 13, 10, 8, 19, 5, 18


def full() -> StorageFull:
    """Return the error of a disk that takes no more."""
    return StorageFull("The server's disk is full; nothing was changed. Free some space.")


def bad_value(error: Exception) -> InvalidInput:
    """Return the error of a value that no column can hold."""
    return InvalidInput(
        "A value cannot be stored: text may hold neither NUL nor lone surrogates, integers"
        f" must fit 64 bits ({type(error).__name__})."
    )


class SqliteLink(Link):
    """A sqlite3 (or pysqlite3) connection in autocommit mode; transactions are begun by its
    owner.
    """

    engine = "sqlite"

    def __init__(self, connection: Any, writing: bool) -> None:
        """Take a connection; its owner closes it."""
        self.connection = connection
        self.writing = writing
        self._execute = connection.execute

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute; return the number of rows changed."""
        try:
            changed: int = self._execute(sql, values).rowcount
        except Exception as error:
            raise sqlite_error(error) from error
        return changed

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute for every row."""
        try:
            self.connection.executemany(sql, rows)
        except Exception as error:
            raise sqlite_error(error) from error

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows."""
        try:
            rows: list[Row] = self._execute(sql, values).fetchall()
        except Exception as error:
            raise sqlite_error(error) from error
        return rows

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row, if any."""
        try:
            row: Row | None = self._execute(sql, values).fetchone()
        except Exception as error:
            raise sqlite_error(error) from error
        return row


def sqlite_error(error: Exception) -> Exception:
    """Return the domain's error for a driver's, or the error itself if it is our mistake."""
    if isinstance(error, TrainshedError):
        return error
    if isinstance(error, (OverflowError, UnicodeEncodeError)):
        return bad_value(error)
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (_FULL, _IOERR):
        return full()
    if primary == _CONSTRAINT:
        return constraint(str(error))
    if primary == _READONLY:
        return ReadOnly("Store.read may not write.")
    if primary == _TOOBIG:
        return bad_value(error)
    if primary == _BUSY:
        return Unavailable("The database is busy; try again.", retry_after_s=1)
    return error


def constraint(text: str) -> Conflict:
    """Return the error of a broken rule: a trigger's own words, or a plain sentence."""
    if "trainshed:" in text:
        return Conflict(text.partition("trainshed:")[2].splitlines()[0].strip())
    return Conflict("It exists already, or refers to something that does not exist.")
