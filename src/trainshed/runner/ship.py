"""Sends what the job prints and measures: byte-exact, in order, across any silence of the server.

The log files are the spool: a piece is read only once the one before was taken, so a server that is
away costs no memory, and catching up is reading on.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence

from trainshed.runner.client import Client
from trainshed.runner.metrics import Parser, Row, to_wire
from trainshed.wire.v1 import CHUNK, MAX_POINTS

TRUNCATE_ABOVE = 1024 * 1024


class Tail:
    """One log file as a stream. ``offset`` counts the stream's bytes, ``_at`` the file's; once they
    differ the file ``cut`` is there, for whoever reads the log after this process.
    """

    def __init__(self, name: str, fd: int, cut: str) -> None:
        self.name = name
        self.fd = fd
        self._cut = cut
        self.offset = 0
        self.closed = False
        self.fed = 0
        self._at = 0

    def pending(self) -> bool:
        """Return whether the file has more than was taken."""
        return os.fstat(self.fd).st_size != self._at

    def read(self) -> bytes:
        """Return the next piece, without taking it. A truncated file starts again."""
        if os.fstat(self.fd).st_size < self._at:
            self._begin_anew()
        return os.pread(self.fd, CHUNK, self._at)

    def take(self, n_bytes: int) -> None:
        """Move on by ``n_bytes``; a closed stream's file is cut so that it cannot fill the disk."""
        self._at += n_bytes
        self.offset += n_bytes
        if self.closed and self._at >= TRUNCATE_ABOVE:
            os.ftruncate(self.fd, 0)
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._at = 0
        with contextlib.suppress(OSError):  # a full disk
            os.close(os.open(self._cut, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def rewind(self, offset: int) -> bool:
        """Go back to an earlier stream offset; False if the file no longer has it."""
        back = self.offset - offset
        if not 0 <= back <= self._at:
            return False
        self._at -= back
        self.offset = offset
        return True


class Shipper:
    """Ships one Attempt's logs and points over one connection; used by one thread at a time."""

    def __init__(
        self, client: Client, tails: Sequence[Tail], points: str, until: Callable[[], bool] | None
    ) -> None:
        self.client = client
        self.tails = list(tails)
        self.until = until
        self._points_path = points
        self._points_fd: int | None = None
        self._points_at = 0
        self._sent = 0
        self._metrics_closed = False
        #: Hears every point once, before it is sent.
        self.listen: Callable[[Sequence[Row]], None] | None = None
        self._queue: list[Row] = []
        self._printed = Parser()
        self._appended = Parser()

    def round(self) -> bool:
        """Send one piece of each that has one; return whether anything was sent.

        Raises:
            Stale: the lease is gone.
            Abandoned: ``until`` came true while the server was silent.
        """
        self._flush_points()
        busy = [self._piece(tail) for tail in self.tails]
        busy.append(self._file_piece())
        self._flush_points()
        return any(busy)

    def drain(self) -> None:
        """Send all that is left, the last unfinished line's points too. Raises as ``round``."""
        while self.round():
            pass
        self._queue.extend(self._printed.finish())
        self._flush_points()

    def _piece(self, tail: Tail) -> bool:
        if not tail.pending():
            return False
        data = tail.read()
        if not data:
            return False
        taken = len(data) if tail.closed else self._post(tail, data)
        if tail.name == "stdout" and tail.offset + taken > tail.fed:
            fresh = data[max(tail.fed - tail.offset, 0) : taken]
            self._found(self._printed.feed(fresh))
            tail.fed = tail.offset + taken
        tail.take(taken)
        return True

    def _post(self, tail: Tail, data: bytes) -> int:
        """Send a piece; return how many of its bytes the server has now."""
        path = f"streams/{tail.name}?offset={tail.offset}"
        answer = self.client.call("POST", path, data, self.until)
        if answer.status == 409:
            return self._skip(tail, data, answer.json().get("next"))
        tail.closed = answer.status != 200
        return len(data)

    def _skip(self, tail: Tail, data: bytes, reached: object) -> int:
        """Continue from where the server is: usually past a piece whose answer was lost."""
        if isinstance(reached, int):
            if reached >= tail.offset:
                return min(reached - tail.offset, len(data))
            if tail.rewind(reached):
                return 0
        tail.closed = True
        return len(data)

    def _file_piece(self) -> bool:
        if self._points_fd is None:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                fd = os.open(self._points_path, flags)
            except OSError:
                return False
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                return False
            self._points_fd = fd
        data = os.pread(self._points_fd, CHUNK, self._points_at)
        self._points_at += len(data)
        self._found(self._appended.feed_file(data))
        return bool(data)

    def _found(self, rows: Sequence[Row]) -> None:
        if self.listen is not None:
            self.listen(rows)
        self._queue.extend(rows)

    def _flush_points(self) -> None:
        while self._queue and not self._metrics_closed:
            rows = self._queue[:MAX_POINTS]
            body = {"points": to_wire(rows)}
            answer = self.client.call("POST", f"metrics?offset={self._sent}", body, self.until)
            reached = answer.json().get("next")
            if answer.status in (200, 409) and isinstance(reached, int):
                gone = max(min(reached - self._sent, len(rows)), 0)
                del self._queue[:gone]
                self._sent = reached
                if gone == 0 and answer.status == 200:
                    break
            elif answer.status == 400 and len(rows) > 1:
                self._one_by_one(rows)
            else:
                self._metrics_closed = answer.status != 400
                del self._queue[: len(rows)]
        if self._metrics_closed:
            self._queue.clear()

    def _one_by_one(self, rows: Sequence[Row]) -> None:
        """Send points singly so that one bad point does not cost the others."""
        del self._queue[: len(rows)]
        for row in rows:
            body = {"points": to_wire([row])}
            answer = self.client.call("POST", f"metrics?offset={self._sent}", body, self.until)
            reached = answer.json().get("next")
            if isinstance(reached, int):
                self._sent = max(self._sent, reached)
