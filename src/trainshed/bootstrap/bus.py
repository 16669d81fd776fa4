"""Wake-ups inside one server: waiters on the event loop, notifiers on any thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class LoopBus:
    """``ports.bus.Bus``. A ``notify`` that nobody waits for costs one look into a dict."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._scheduled: set[str] = set()
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing

    def close(self) -> None:
        """Wake whoever waits, on the loop: requests that only wait need not be cut off."""
        self._closing = True
        for topic in tuple(self._waiting):
            self._wake(topic)

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop that all waiters are on; the first ``wait`` would do it too."""
        self._loop = loop

    def notify(self, topic: str) -> None:
        """Wake whoever waits; many at once cost one wake-up of the loop."""
        loop = self._loop
        if loop is None or topic not in self._waiting or topic in self._scheduled:
            return
        self._scheduled.add(topic)
        with suppress(RuntimeError):  # the loop has just closed: nobody waits any more
            loop.call_soon_threadsafe(self._wake, topic)

    async def wait(self, topic: str, timeout_s: float) -> bool:
        """Wait for the next ``notify``; False after the time."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return False
        finally:
            others = self._waiting.get(topic)
            if others is not None:
                others.discard(future)
                if not others:
                    del self._waiting[topic]

    def _wake(self, topic: str) -> None:
        self._scheduled.discard(topic)
        for future in self._waiting.pop(topic, ()):
            if not future.done():
                future.set_result(True)
