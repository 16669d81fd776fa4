"""Streams without loss or duplicate: what a resumed connection repeats is dropped here."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from trainshed_client.decode import decode
from trainshed_client.models import Log, MetricPoint, StateChange
from trainshed_client.sse import Message


class LogFeed:
    """Turns the events of ``logs/follow`` into pieces that join up, per Attempt and stream."""

    def __init__(self, fetch: Callable[..., Awaitable[Log]]) -> None:
        self._fetch = fetch
        self._next: dict[tuple[int, str], int] = {}
        self._state = ""

    async def take(self, message: Message) -> AsyncIterator[Log | StateChange]:
        """Yield what is new in ``message``."""
        if message.kind == "log":
            async for piece in self._join(decode(Log, message.data)):
                yield piece
        elif message.kind in ("state", "end"):
            change = decode(StateChange, message.data)
            final = message.kind == "end"
            if final or change.state != self._state:
                self._state = change.state
                yield StateChange(state=change.state, final=final, raw=change.raw)

    async def _join(self, piece: Log) -> AsyncIterator[Log]:
        where = (piece.attempt, piece.stream)
        have = self._next.get(where, piece.offset)
        while have < piece.offset:  # a gap: the server left some out for a slow reader
            missing = await self._fetch(
                stream=piece.stream,
                attempt=piece.attempt,
                offset=have,
                limit=piece.offset - have,
            )
            if missing.next <= have:
                break
            have = self._next[where] = missing.next
            yield missing
        if piece.next <= have:
            return
        self._next[where] = piece.next
        yield piece if piece.offset >= have else _without_start(piece, have)


def _without_start(piece: Log, have: int) -> Log:
    rest = piece.text.encode("utf-8", "surrogatepass")[have - piece.offset :]
    return Log(
        stream=piece.stream,
        attempt=piece.attempt,
        offset=have,
        next=piece.next,
        text=rest.decode("utf-8", "replace"),
        raw=piece.raw,
    )


_Point = tuple[str, int | None, int | None, float | None, str | None]


class MetricFeed:
    """Drops the points that a server repeats after a reconnection.

    An id stands at the end of a batch, so a connection that drops within one makes the server
    send the start of that batch again (or everything, if it gives no ids). As many equal points
    as came since the last id are skipped then.
    """

    def __init__(self) -> None:
        self._id = ""
        self._since: Counter[_Point] = Counter()
        self._repeats: Counter[_Point] = Counter()

    def take(self, message: Message) -> MetricPoint | None:
        """Return the point in ``message``, or None if it is no point or an old one."""
        if message.first:
            self._repeats = self._since.copy()
        point = decode(MetricPoint, message.data) if message.kind == "metric" else None
        old = point is not None and self._old(point)
        if message.id and message.id != self._id:
            self._id = message.id
            self._since.clear()
            self._repeats.clear()
        return None if old else point

    def _old(self, point: MetricPoint) -> bool:
        same = (point.key, point.step, point.at_ms, point.value, point.flag)
        if self._repeats[same] > 0:
            self._repeats[same] -= 1
            return True
        self._since[same] += 1
        return False
