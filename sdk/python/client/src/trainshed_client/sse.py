"""Server-sent events that survive a dropped connection: resumed by ``Last-Event-ID``."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2

from trainshed_client.backoff import PASSING
from trainshed_client.errors import BadAnswer, TrainshedError, Unreachable, by_code
from trainshed_client.transport import Params, Transport

#: A live server pings every 15 s; a connection silent for this long is dead.
QUIET_S = 50.0
#: A connection that lasted this long was a good one, even if nothing happened on it.
LASTED_S = 5.0
#: Parameters that say where a stream starts; a Last-Event-ID says it better.
_STARTS = ("offset", "after_seq")


@dataclass(frozen=True)
class Message:
    """One event. ``first`` marks the first one after a connection was made."""

    kind: str
    data: dict[str, Any]
    id: str
    first: bool


_OPENED = Message("", {}, "", False)


async def follow(
    transport: Transport,
    path: str,
    params: Params | None = None,
    *,
    last_id: str = "",
    give_up_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Message, None]:
    """Yield events until the server sends ``end``, connecting again when the line drops.

    A ``resync`` event (we were too slow, some were left out) reconnects at the last id as well;
    ``closed`` is an error, which is raised unless it passes.
    Dropping what a server sends twice is the caller's: it knows what its ids mean.

    Raises:
        TrainshedError: the server refuses.
        Unreachable: nothing could be read for ``give_up_s`` seconds on end.
    """
    patience = _Patience(transport, give_up_s, clock)
    while True:
        problem: TrainshedError | None = None
        try:
            async with aclosing(_connection(transport, path, params, last_id)) as messages:
                async for message in messages:
                    patience.good(message)
                    last_id = message.id or last_id
                    if message.kind == "resync":
                        break
                    if message is not _OPENED:
                        yield message
                    if message.kind == "end":
                        return
        except TrainshedError as error:
            if not error.retryable and error.status not in PASSING:
                raise
            problem = error
        await patience.bad(problem)


class _Patience:
    """Counts how long nothing could be read, and waits longer each time."""

    def __init__(self, transport: Transport, give_up_s: float, clock: Callable[[], float]) -> None:
        self._transport, self._give_up_s, self._clock = transport, give_up_s, clock
        self._failed, self._since = 0, clock()
        self._opened_at: float | None = None

    def good(self, message: Message) -> None:
        """Note what was read: a connection, or an event."""
        if message is _OPENED:
            self._opened_at = self._clock()
        else:
            self._failed = 0

    async def bad(self, problem: TrainshedError | None) -> None:
        """Wait before the next connection, or raise when it has been too long."""
        now = self._clock()
        lasted = self._opened_at is not None and now - self._opened_at > LASTED_S
        self._opened_at = None
        self._failed = 1 if lasted else self._failed + 1
        if self._failed == 1:
            self._since = now
        if now - self._since > self._give_up_s:
            url = self._transport.url
            raise problem or Unreachable(f"{url} ends the stream again and again.")
        backoff = self._transport.backoff
        asked = problem.extra.get("retry_after_s") if problem else None
        wait = backoff.wait_s(min(self._failed, backoff.tries - 1), asked)
        await self._transport.sleep(wait if wait is not None else backoff.patience_s)


async def _connection(
    transport: Transport, path: str, params: Params | None, last_id: str
) -> AsyncGenerator[Message, None]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id:
        headers["Last-Event-ID"] = last_id
        params = {k: v for k, v in (params or {}).items() if k not in _STARTS}
    first = True
    opening = transport.open("GET", path, params=params, headers=headers, quiet_s=QUIET_S)
    async with opening as answer:
        yield _OPENED
        async for event in httpx2.EventSource(answer):
            if not event.data:
                continue
            data = _object(event.data)
            if event.event == "closed":
                raise _closed(data)
            yield Message(event.event, data, event.id, first)
            first = False


def _closed(data: dict[str, Any]) -> TrainshedError:
    """Return why the server closed the stream: the key has ended, or too many are open."""
    cls = by_code().get(str(data.get("code")), TrainshedError)
    return cls(str(data.get("detail") or "The server closed the stream."), code=data.get("code"))


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BadAnswer("The server sent an event that is no JSON.") from error
    if not isinstance(found, dict):
        raise BadAnswer("The server sent an event that is no object.")
    return found
