"""Server-sent events: read by cursor, woken by the bus, bounded, and closed with the caller's
key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import anyio
import anyio.to_thread
import msgspec
from starlette.responses import StreamingResponse

from trainshed.domain.errors import RateLimited, TrainshedError
from trainshed.domain.people import Principal
from trainshed.http.auth import Authenticator
from trainshed.ports.bus import Bus
from trainshed.ports.clock import Clock

PING_S = 15.0
#: The key is looked at again, and the cursor read again without a wake-up, this often.
RECHECK_S = 1.0
#: Wake-ups closer together than this are answered by one read.
PAUSE_S = 0.05
THREADS = 8
#: What a pull found, and what to do next: wait for a wake-up, read on at once, or end.
Pulled = tuple[Iterable["Frame"], Literal["wait", "more", "end"]]
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. ``id`` is the cursor that ``Last-Event-ID`` brings back."""

    event: str
    data: Any
    id: str | None = None

    def encode(self) -> bytes:
        """Return it as it goes over the wire."""
        head = f"id: {self.id}\n" if self.id is not None else ""
        text = msgspec.json.encode(self.data)
        return f"{head}event: {self.event}\ndata: ".encode() + text + b"\n\n"


class Source(Protocol):
    """What a stream reads. ``pull`` runs in a thread and remembers its cursor."""

    def topics(self) -> tuple[str, ...]:
        """What to wait for before the next pull."""

    def pull(self) -> Pulled:
        """Return what is new (bounded) and what to do next."""


class Streams:
    """All open streams of this server; each caller may have ``limit``."""

    def __init__(self, bus: Bus, clock: Clock, auth: Authenticator, limit: int) -> None:
        """Begin with none open."""
        self._bus, self._clock, self._auth, self._limit = bus, clock, auth, limit
        self._open: dict[str, int] = {}
        self._threads = anyio.CapacityLimiter(THREADS)

    async def respond(
        self, principal: Principal, presented: str, source: Source
    ) -> StreamingResponse:
        """Read once, so that errors are still errors, then go on as a stream.

        Raises:
            RateLimited: the caller has too many streams open.
        """
        first = await self._pull(source)
        with self.slot(principal.id):
            body = self._body(principal.id, presented, source, first)
        return StreamingResponse(body, 200, HEADERS, "text/event-stream")

    @contextlib.contextmanager
    def slot(self, name: str) -> Iterator[None]:
        """Hold one of the caller's streams; uploads and downloads count too.

        Raises:
            RateLimited: they are all in use.
        """
        if self._open.get(name, 0) >= self._limit:
            raise RateLimited(
                f"{self._limit} streams are open already; close one.", retry_after_s=5
            )
        self._open[name] = self._open.get(name, 0) + 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _body(
        self, name: str, presented: str, source: Source, first: Pulled
    ) -> AsyncIterator[bytes]:
        yield b": open\n\n"
        try:
            with self.slot(name):
                async for part in self._frames(presented, source, first):
                    yield part
        except TrainshedError as error:
            yield Frame("closed", {"code": error.code, "detail": error.detail}).encode()

    async def _frames(self, presented: str, source: Source, pulled: Pulled) -> AsyncIterator[bytes]:
        spoke = self._clock.monotonic()
        waiting = self._wait(source.topics())
        try:
            while True:
                frames, after = pulled
                for frame in frames:
                    yield frame.encode()
                    spoke = self._clock.monotonic()
                if after == "end":
                    return
                if self._clock.monotonic() - spoke >= PING_S:
                    yield b": ping\n\n"
                    spoke = self._clock.monotonic()
                if after == "wait":
                    await waiting
                    await asyncio.sleep(self._pause())
                await self._auth.who(presented)
                waiting.cancel()
                # Wait for what comes after this read before reading, so that no wake-up is lost.
                waiting = self._wait(source.topics())
                await asyncio.sleep(0)
                pulled = await self._pull(source)
        finally:
            waiting.cancel()

    def _wait(self, topics: tuple[str, ...]) -> asyncio.Task[None]:
        async def first() -> None:
            tasks = [asyncio.ensure_future(self._bus.wait(t, RECHECK_S)) for t in topics]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()

        return asyncio.create_task(first())

    async def _pull(self, source: Source) -> Pulled:
        return await anyio.to_thread.run_sync(source.pull, limiter=self._threads)

    def _pause(self) -> float:
        """Wake-ups are merged longer the more streams are open, so that reads stay bounded."""
        return PAUSE_S * max(1.0, sum(self._open.values()) / 100)
