"""The loop that carries events out: the log becomes deliveries, deliveries become tries."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from trainshed.domain.errors import TrainshedError
from trainshed.ports.channel import Sent
from trainshed.ports.deps import Deps
from trainshed.usecases import deliveries
from trainshed.usecases.deliveries import Try
from trainshed.usecases.traffic import Traffic

log = structlog.get_logger("trainshed.courier")

IDLE_S = 0.5
#: What happens in so short a time is read from the log at once.
GATHER_S = 0.02
#: Tries in flight get this long when the server stops; the rest are tried again after the start.
LEAVE_S = 2.0
WAKE = "deliveries"

Run = Callable[..., Awaitable[Any]]


class Courier:
    """Both rounds are called for ever by ``Loops``; each waits by itself when there is nothing."""

    def __init__(self, deps: Deps, run: Run) -> None:
        """``run`` calls a blocking function on the server's threads."""
        self._deps, self._run = deps, run
        self._traffic = Traffic()
        self._position: int | None = None
        self._flying: set[asyncio.Task[None]] = set()

    async def fan_out(self) -> None:
        """Turn new events into deliveries."""
        deps = self._deps
        if self._position is None:
            self._position = await self._run(deliveries.cursor, deps)
        wake = asyncio.ensure_future(deps.bus.wait("events", IDLE_S))
        await asyncio.sleep(0)
        before, now = self._position, -1
        try:
            now = await self._run(deliveries.fan_out, deps, before)
            self._position = now
        finally:
            if now != before:
                wake.cancel()
        if now == before:
            await wake
        else:
            deps.bus.notify(WAKE)
            await asyncio.sleep(GATHER_S)

    async def send(self) -> None:
        """Begin tries of what is due."""
        wake = asyncio.ensure_future(self._deps.bus.wait(WAKE, IDLE_S))
        await asyncio.sleep(0)
        try:
            tries: list[Try] = await self._run(deliveries.claim, self._deps, self._traffic)
        except BaseException:
            wake.cancel()
            raise
        for one in tries:
            task = asyncio.create_task(self._carry(one))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
        await wake

    async def _carry(self, one: Try) -> None:
        clock = self._deps.clock
        begun = clock.monotonic()
        try:
            sent = await self._attempt(one)
            took = clock.monotonic() - begun
            settled = deliveries.settling(self._deps, one, sent, took)
            await asyncio.wrap_future(self._deps.store.submit(settled))
        except TrainshedError as error:
            log.warning("not settled; it is tried again", delivery=one.delivery.id, code=error.code)
        finally:
            self._traffic.end(one.subscription)
            self._deps.bus.notify(WAKE)

    async def _attempt(self, one: Try) -> Sent:
        try:
            return await deliveries.send(self._deps, one)
        except Exception as error:
            # Its words might hold the address, which may be a secret: only where it happened.
            at = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "a channel failed",
                delivery=one.delivery.id,
                error=type(error).__name__,
                where=f"{at.filename}:{at.lineno}",
            )
            return Sent(False, detail="The channel failed; the server's log says how.")

    async def stop(self) -> None:
        """Let what is in flight arrive, but not for long."""
        if self._flying:
            await asyncio.wait(self._flying, timeout=LEAVE_S)
        for task in list(self._flying):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
