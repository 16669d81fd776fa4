"""A few seats for many accounts: nobody waits because another account has taken them all."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager


class Seats:
    """``n`` of them. Whose account has the fewest gets the next one; of equals, who came first."""

    def __init__(self, n: int) -> None:
        """All are free."""
        self._n = n
        self._taken: Counter[str] = Counter()
        self._waiting: deque[tuple[str, object]] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def one(self, who: str, timeout_s: float) -> Iterator[bool]:
        """Hold a seat for ``who``; yields False, and holds none, where none came in time."""
        mark = (who, object())
        got = self._take(mark, timeout_s)
        try:
            yield got
        finally:
            if got:
                with self._changed:
                    self._taken[who] -= 1
                    self._taken += Counter()  # forget who has none
                    self._changed.notify_all()

    def _take(self, mark: tuple[str, object], timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        with self._changed:
            self._waiting.append(mark)
            try:
                while self._taken.total() >= self._n or self._next() is not mark:
                    if not self._changed.wait(until - time.monotonic()):
                        return False
                self._taken[mark[0]] += 1
                return True
            finally:
                self._waiting.remove(mark)
                self._changed.notify_all()

    def _next(self) -> tuple[str, object]:
        return min(self._waiting, key=lambda mark: self._taken[mark[0]])
