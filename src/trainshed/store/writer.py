"""The one writer of SQLite: group commit, and the only checkpointer.

Work that arrives while a commit is on its way to the disk shares the next one; nothing ever waits
for a group to fill. Each piece runs in a savepoint of its own and is answered after the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from trainshed.domain.errors import Overloaded, StorageFull, Unavailable
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.store import Tx
from trainshed.store.link import SqliteLink, sqlite_error
from trainshed.store.uow import Repos, Work

register("store.before_commit", "store.after_commit")

BOUND = 4096
GROUP = 256
GROUP_S = 0.005
#: Checkpoint when idle this long, or after so much work, so that the WAL stays small.
IDLE_S = 0.1
CHECKPOINT_AFTER = 1000

Piece = tuple[Callable[[Tx], Any], "Future[Any]"]
Answer = tuple["Future[Any]", Any, BaseException | None]


class Writer:
    """A thread that owns the writing connection. ``connect`` is called in that thread."""

    def __init__(self, connect: Callable[[], Any], bound: int = BOUND) -> None:
        """Start; raises what ``connect`` raises."""
        self._queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._bound = bound
        self._closed = False
        self._since = 0
        self._connect = connect
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._main, args=(ready,), name="store-writer", daemon=True
        )
        self._thread.start()
        ready.result()

    def submit(self, fn: Callable[[Tx], Any]) -> Future[Any]:
        """Queue ``fn``.

        Raises:
            Overloaded: the queue is full. Unavailable: the store is closed.
        """
        if self._closed:
            raise Unavailable("The store is closed.")
        if self._queue.qsize() >= self._bound:
            raise Overloaded("Too many writes at once; try again shortly.", retry_after_s=1)
        future: Future[Any] = Future()
        self._queue.put((fn, future))
        return future

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller is ``fn``: it would wait for itself."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Finish what is queued, checkpoint, and stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _main(self, ready: Future[None]) -> None:
        try:
            self._open()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        running = True
        while running:
            piece = self._next()
            running = piece is not None and self._group(piece)
        self._refuse_rest()
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _open(self) -> None:
        self._connection = self._connect()
        self._link = SqliteLink(self._connection, writing=True)
        self._repos = Repos(self._link)

    def _next(self) -> Piece | None:
        if not self._since:
            return self._queue.get()
        try:
            return self._queue.get(timeout=IDLE_S)
        except Empty:
            self._checkpoint("PASSIVE")
            return self._queue.get()

    def _group(self, first: Piece) -> bool:
        """Run and commit one group; False when it is time to stop."""
        answers: list[Answer] = []
        more = True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            more = self._collect(first, answers)
            crashpoint("store.before_commit")
            self._connection.execute("COMMIT")
            crashpoint("store.after_commit")
        except BaseException as error:
            self._abandon()
            failure = sqlite_error(error) if isinstance(error, Exception) else error
            if not answers and first[1].set_running_or_notify_cancel():
                answers.append((first[1], None, None))
            for future, _, _ in answers:
                future.set_exception(failure)
            return more
        for future, value, wrong in answers:
            if wrong is None:
                future.set_result(value)
            else:
                future.set_exception(wrong)
        self._since += len(answers)
        if self._since >= CHECKPOINT_AFTER:
            self._checkpoint("PASSIVE")
        return more

    def _collect(self, first: Piece, answers: list[Answer]) -> bool:
        until = monotonic() + GROUP_S
        piece: Piece | None = first
        while piece is not None:
            fn, future = piece
            if future.set_running_or_notify_cancel():
                answers.append((future, None, None))
                value, wrong = self._one(fn)
                answers[-1] = (future, value, wrong)
            if len(answers) >= GROUP or monotonic() > until:
                return True
            try:
                piece = self._queue.get_nowait()
            except Empty:
                return True
        return False

    def _one(self, fn: Callable[[Tx], Any]) -> tuple[Any, BaseException | None]:
        """Run one piece in its savepoint. A full disk, or a transaction that SQLite has rolled
        back by itself, ends the whole group.
        """
        execute = self._connection.execute
        work = Work(self._repos)
        execute("SAVEPOINT piece")
        try:
            value = fn(work)
        except BaseException as error:
            if isinstance(error, StorageFull) or not self._connection.in_transaction:
                raise
            execute("ROLLBACK TO piece")
            execute("RELEASE piece")
            return None, error
        finally:
            work.end()
        execute("RELEASE piece")
        return value, None

    def _abandon(self) -> None:
        """Roll the group back; a connection that cannot even do that is replaced."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except Exception:
            with suppress(Exception):  # if this fails too, the next group tries again
                self._connection.close()
                self._open()

    def _checkpoint(self, mode: str) -> None:
        """Move the WAL into the database. Only here, only by this connection: SQLite before
        3.51.3 can lose a commit of one connection while another checkpoints. Failing is fine.
        """
        self._since = 0
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except Exception:  # a full disk: the WAL keeps everything, the next one tries again
            self._since = 1

    def _refuse_rest(self) -> None:
        while True:
            try:
                piece = self._queue.get_nowait()
            except Empty:
                return
            if piece is not None and piece[1].set_running_or_notify_cancel():
                piece[1].set_exception(Unavailable("The store is closed."))
