"""The server's own clockwork: place, launch, look after leases, keep house."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from trainshed.bootstrap.courier import Courier
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import TrainshedError
from trainshed.domain.states import AttemptState
from trainshed.ports.executor import Rests
from trainshed.ports.paging import After
from trainshed.usecases import (
    dispatch,
    firing,
    housekeeping,
    office,
    reap,
    retention,
    schedules,
)
from trainshed.usecases.engine import Engine

T = TypeVar("T")

log = structlog.get_logger("trainshed.loops")

IDLE_S = 1.0
LOOK_S = 1.0
HOUSE_S = 5.0
#: Between two passes over what is old.
EXPIRE_S = 600.0
FIRE_S = 0.5
SET_BACK = timedelta(seconds=5)
LAUNCHERS = 4
#: The log warns at this many times ``min_free_bytes``.
WARN_AT = 4


class Loops:
    """Started and stopped by the server's lifespan. A round that fails is logged and tried
    again.
    """

    def __init__(self, engine: Engine, lead: Callable[[], None] | None = None) -> None:
        """Nothing runs before ``start``. ``lead`` is called each time this server becomes the
        dispatcher.
        """
        self._on_lead = lead
        self._engine = engine
        self._threads = ThreadPoolExecutor(LAUNCHERS + 3, thread_name_prefix="engine")
        self._tasks: list[asyncio.Task[None]] = []
        self._short = False
        self._expired: After | None = None
        self._term = self._taken = 0
        self._latest: datetime | None = None
        self._handles: dict[str, Mapping[str, object]] = {}
        self._courier = Courier(engine.deps, self._run)

    async def start(self) -> int:
        """Take over what runs, then start; return how many Attempts were taken over."""
        await self._lead()
        taken = self._taken
        out = self._courier
        mine = (self._dispatch, self._look, self._house, self._expire, self._fire)
        for loop in (*mine, out.fan_out, out.send):
            name = loop.__name__.strip("_")
            self._tasks.append(asyncio.create_task(self._forever(name, loop), name=name))
        return taken

    async def _lead(self) -> bool:
        """Return whether this server is the dispatcher. Where it has just become it, it takes
        over what runs first.
        """
        term = await self._run(office.lead, self._engine)
        if term and term != self._term:
            if self._on_lead is not None:
                await self._run(self._on_lead)
            found = await self._run(reap.take_over, self._engine)
            for attempt in found:
                if attempt.state is AttemptState.LEASED:
                    self._threads.submit(self._launch, attempt)
            self._taken = len(found)
        self._term = term
        return bool(term)

    async def stop(self) -> None:
        """Stop placing and looking; running jobs go on without us, and where there are none nothing
        of ours is left.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._courier.stop()
        await asyncio.to_thread(self._threads.shutdown, True)
        await asyncio.to_thread(self._save)
        await asyncio.to_thread(reap.flush, self._engine)
        await asyncio.to_thread(office.leave, self._engine)
        for executor in self._engine.deps.executors.values():
            if isinstance(executor, Rests):
                await asyncio.to_thread(executor.shut)

    async def _run(self, fn: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, fn, *args)

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except asyncio.CancelledError:
                raise
            except TrainshedError as error:
                log.warning("round failed", loop=name, code=error.code, detail=error.detail)
                await asyncio.sleep(IDLE_S)
            except Exception:
                log.exception("round failed", loop=name)
                await asyncio.sleep(IDLE_S)

    async def _dispatch(self) -> None:
        wake = asyncio.ensure_future(self._engine.deps.bus.wait("queue", IDLE_S))
        await asyncio.sleep(0)
        if await self._lead():
            for attempt in await self._run(dispatch.lease, self._engine):
                self._threads.submit(self._launch, attempt)
        await wake

    def _launch(self, attempt: Attempt) -> None:
        try:
            dispatch.launch(self._engine, attempt)
        except Exception:
            log.exception("launch failed")

    async def _look(self) -> None:
        if self._term:
            await self._run(reap.look, self._engine)
        await self._run(reap.flush, self._engine)
        await self._run(self._save)
        await asyncio.sleep(LOOK_S)

    def _save(self) -> None:
        """Write handles of runners that have lived for a round: short jobs never need theirs."""
        now = {a: h for held in self._engine.leases.handles().values() for a, h in held.items()}
        fresh = {a: h for a, h in now.items() if a not in self._handles}
        if fresh:
            dispatch.remember_handles(self._engine, fresh)
        self._handles = now

    def _warn_of_disk(self, free: int) -> None:
        """Say once that the disk gets short, well before anything is refused."""
        short = free < WARN_AT * self._engine.deps.policy.min_free_bytes
        if short and not self._short:
            log.warning("the disk gets short; free some space", free_bytes=free)
        self._short = short

    async def _fire(self) -> None:
        """Fire what is due; a wall clock that was set back makes due times be looked at again."""
        deps = self._engine.deps
        wake = asyncio.ensure_future(deps.bus.wait(schedules.TOPIC, FIRE_S))
        await asyncio.sleep(0)
        now = deps.clock.utc_now()
        if self._latest is None or now < self._latest - SET_BACK:
            await self._run(firing.resync, deps)
        self._latest = now
        if await self._run(firing.fire_due, deps) == 0:
            await wake
        else:
            wake.cancel()

    async def _house(self) -> None:
        if self._term:
            await self._run(housekeeping.tidy, self._engine)
        self._warn_of_disk(await self._run(self._engine.deps.blobs.free_bytes))
        await asyncio.sleep(HOUSE_S)

    async def _expire(self) -> None:
        """Empty what is old, a few a second, until nothing is left."""
        self._expired = await self._run(retention.expire, self._engine.deps, self._expired)
        await asyncio.sleep(LOOK_S if self._expired else EXPIRE_S)
