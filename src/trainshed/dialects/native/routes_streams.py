"""What is followed live: events, logs, metrics. Each source reads by a cursor that survives a
reconnect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trainshed.dialects.native import answers, schema, translate
from trainshed.dialects.native.parameters import JobRef, Limit, Seq
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import InvalidInput
from trainshed.domain.people import Principal
from trainshed.http.guards import JOB_READ, READ, Route
from trainshed.http.hall import Called
from trainshed.http.sse import Frame, Pulled, Source
from trainshed.ports.deps import Deps
from trainshed.ports.streams import LOG_STREAMS
from trainshed.ports.views import JobView
from trainshed.usecases import logs, metrics, queries

BATCH = 500
PART = 64 * 1024
LastId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)]
EVENTS = "events"


class EventSource:
    """The account's events."""

    def __init__(self, deps: Deps, who: Principal, after_seq: int) -> None:
        """Begin after a sequence number."""
        self._deps, self._who, self._after = deps, who, after_seq

    def topics(self) -> tuple[str, ...]:
        """Wait for any event."""
        return (EVENTS,)

    def pull(self) -> Pulled:
        """Return the next events."""
        found = queries.events(self._deps, self._who, self._after, BATCH)
        if found:
            self._after = found[-1].seq
        frames = [
            Frame(e.kind, translate.to_event(e).model_dump(mode="json"), str(e.seq)) for e in found
        ]
        return frames, "more" if len(found) == BATCH else "wait"


class LogSource:
    """The logs of a Job, Attempt after Attempt, and its state as it changes."""

    def __init__(
        self, deps: Deps, who: Principal, job_id: str, streams: tuple[str, ...], at: list[int]
    ) -> None:
        """Begin at ``[attempt, offset of each of LOG_STREAMS]``; attempt 0 is the newest."""
        self._deps, self._who, self._job_id = deps, who, job_id
        self._streams = streams
        self._number, self._offsets = at[0], dict(zip(LOG_STREAMS, at[1:], strict=True))
        self._state = ""
        self._topics: tuple[str, ...] = (EVENTS,)

    def topics(self) -> tuple[str, ...]:
        """Wait for the Attempt's streams, and for events, which change states."""
        return self._topics

    def pull(self) -> Pulled:
        """Return what was logged since, and the state if it changed."""
        view = queries.get_job(self._deps, self._who, self._job_id)
        one = self._attempt(view)
        frames = list(self._news(view))
        full = one is not None and self._read(one, frames)
        if full:
            return frames, "more"
        if one is not None and not one.live and one.number < view.attempts[-1].number:
            self._number, self._offsets = one.number + 1, dict.fromkeys(LOG_STREAMS, 0)
            return frames, "more"
        if view.job.terminal:
            frames.append(Frame("end", {"state": self._state}, self._cursor()))
            return frames, "end"
        return frames, "wait"

    def _attempt(self, view: JobView) -> Attempt | None:
        if not view.attempts:
            return None
        if self._number == 0:
            self._number = view.attempts[-1].number
        found = [a for a in view.attempts if a.number == self._number]
        if not found:
            raise InvalidInput("Last-Event-ID names an attempt that this job does not have.")
        self._topics = (f"stream:{found[0].id}", EVENTS)
        return found[0]

    def _news(self, view: JobView) -> Iterator[Frame]:
        state = view.job.state.value
        if state != self._state:
            self._state = state
            yield Frame("state", {"state": state}, self._cursor())

    def _read(self, one: Attempt, frames: list[Frame]) -> bool:
        """Append what is new of each stream; True if there is more already."""
        more = False
        for name in self._streams:
            offset = self._offsets[name]
            part = logs.read_log(
                self._deps, self._who, self._job_id, name, one.number, offset, PART
            )
            rest = not one.live and part.next >= part.size
            data = part.data if rest else translate.whole(part.data, rest=False)
            if not data:
                continue
            self._offsets[name] = offset + len(data)
            text = data.decode("utf-8", "replace")
            body = {
                "stream": name, "attempt": one.number, "offset": offset,
                "next": offset + len(data), "text": text,
            }  # fmt: skip
            frames.append(Frame("log", body, self._cursor()))
            more = more or part.next < part.size
        return more

    def _cursor(self) -> str:
        return ".".join(str(n) for n in (self._number, *self._offsets.values()))


class MetricSource:
    """The points of a Job's newest Attempt, as they come."""

    def __init__(self, deps: Deps, who: Principal, job_id: str, at: list[int]) -> None:
        """Begin at ``[attempt, ordinal]``; attempt 0 is the newest from its first point."""
        self._deps, self._who, self._job_id = deps, who, job_id
        self._number, self._after = at
        self._topics: tuple[str, ...] = (EVENTS,)

    def topics(self) -> tuple[str, ...]:
        """Wait for the Attempt's streams, and for events, which bring new Attempts."""
        return self._topics

    def pull(self) -> Pulled:
        """Return the points logged since."""
        view = queries.get_job(self._deps, self._who, self._job_id)
        newest = view.attempt
        if newest is not None:
            self._topics = (f"stream:{newest.id}", EVENTS)
            if newest.number != self._number:
                self._number, self._after = newest.number, 0
        points, self._after = metrics.new_points(self._deps, self._who, self._job_id, self._after)
        cursor = f"{self._number}.{self._after}"
        frames = [Frame("metric", translate.to_point(p)) for p in points[:-1]]
        frames += [Frame("metric", translate.to_point(p), cursor) for p in points[-1:]]
        if points:
            return frames, "more"
        if view.job.terminal:
            return [Frame("end", {"state": view.job.state.value}, cursor)], "end"
        return frames, "wait"


async def list_events(
    request: Request,
    call: Called,
    after_seq: Seq = 0,
    limit: Limit = 50,
    cursor: Annotated[Seq | None, Query()] = None,
    last_id: LastId = None,
) -> answers.Page[answers.Event]:
    """List the account's events, oldest first; with Accept: text/event-stream, follow them."""
    deps, who = call.deps, call.principal
    first = after_seq if cursor is None else cursor
    if "text/event-stream" in request.headers.get("accept", ""):
        at = _cursor(last_id, 1)
        return await _follow(call, EventSource(deps, who, at[0] if at else first))  # type: ignore[return-value]
    found = await run_in_threadpool(queries.events, deps, who, first, limit)
    more = str(found[-1].seq) if len(found) == limit else None
    return answers.Page(items=[translate.to_event(e) for e in found], next=more)


async def follow_log(
    call: Called,
    job_id: JobRef,
    offset: Seq = 0,
    stream: Annotated[list[schema.Stream] | None, Query(max_length=3)] = None,
    last_id: LastId = None,
) -> Response:
    """Follow the logs as they come, from an offset (of stdout, or of the one named stream)."""
    chosen = tuple(s for s in LOG_STREAMS if not stream or s in stream)
    start = [0, *(offset if name == chosen[0] else 0 for name in LOG_STREAMS)]
    at = _cursor(last_id, 4) or start
    return await _follow(call, LogSource(call.deps, call.principal, job_id, chosen, at))


async def follow_metrics(call: Called, job_id: JobRef, last_id: LastId = None) -> Response:
    """Follow the metrics as they come."""
    at = _cursor(last_id, 2) or [0, 0]
    return await _follow(call, MetricSource(call.deps, call.principal, job_id, at))


async def _follow(call: Called, source: Source) -> Response:
    assert call.presented is not None
    return await call.hall.streams.respond(call.principal, call.presented, source)


def _cursor(last_id: str | None, n: int) -> list[int] | None:
    if last_id is None:
        return None
    parts = last_id.split(".")
    if len(parts) != n or not all(p.isascii() and p.isdigit() and len(p) <= 18 for p in parts):
        raise InvalidInput("Last-Event-ID is none that this stream gave.", field="Last-Event-ID")
    return [int(p) for p in parts]


_STREAM = {
    "responses": {
        "200": {
            "description": "Server-sent events",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
}
ROUTES = [
    Route("GET", "/events", list_events, READ),
    Route("GET", "/jobs/{job_id}/logs/follow", follow_log, JOB_READ, document=_STREAM),
    Route("GET", "/jobs/{job_id}/metrics/follow", follow_metrics, JOB_READ, document=_STREAM),
]
