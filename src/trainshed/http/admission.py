"""How much at once: what comes beyond it is refused at the door, so that the rest stays quick.

Without this the queue would be the thread pool's, which has no end: every answer would come late
and none would be refused (G20).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from trainshed.domain.errors import Overloaded

RETRY_AFTER_S = 1
#: A request that finds no room for work waits so long once before it is refused. Clients that
#: ignore Retry-After are slowed by it: else refusing them would eat the time the work needs.
PAUSE_S = 0.25


class Admission:
    """Counts two things; used on one event loop.

    ``open``: requests from their first line to the last byte of their answer, streams too; they
    cost memory. ``working``: requests being worked on, not while bytes are on their way; they
    cost time. 0 is no limit.
    """

    def __init__(self, max_open: int, max_working: int) -> None:
        """Begin empty."""
        self._max_open, self._max_working = max_open, max_working
        self._open = self._working = 0

    @contextlib.asynccontextmanager
    async def open(self, runner: bool = False) -> AsyncIterator[None]:
        """Hold a place for one request; a ``runner`` is let in however much is worked on.

        Raises:
            Overloaded: all are taken, or no work could begin soon.
        """
        if self._max_open and self._open >= self._max_open:
            raise _overloaded("requests are open")
        self._open += 1
        try:
            if not runner and self._busy:
                await asyncio.sleep(PAUSE_S)
                self._check()
            yield
        finally:
            self._open -= 1

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold a place for work.

        Raises:
            Overloaded: all are taken.
        """
        self._check()
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Give the place for work back while there is nothing to do but wait."""
        self._working -= 1
        try:
            yield
        finally:
            self._working += 1

    @property
    def _busy(self) -> bool:
        return 0 < self._max_working <= self._working

    def _check(self) -> None:
        if self._busy:
            raise _overloaded("requests are being worked on")


def _overloaded(what: str) -> Overloaded:
    return Overloaded(
        f"Too many {what} at once; nothing was changed. Try again shortly.",
        retry_after_s=RETRY_AFTER_S,
    )
