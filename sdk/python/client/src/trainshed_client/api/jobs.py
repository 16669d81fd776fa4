"""Jobs: plan, create, look, steer, follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from trainshed_client.api.files import Downloads
from trainshed_client.api.follow import LogFeed, MetricFeed
from trainshed_client.api.group import Group, items, pages, part
from trainshed_client.decode import decode
from trainshed_client.errors import BadAnswer, WaitTimeout
from trainshed_client.models import (
    Artifact,
    Attempt,
    Event,
    Job,
    Log,
    MetricPoint,
    MetricSeries,
    MetricSummary,
    Plan,
    Receipt,
    StateChange,
)
from trainshed_client.sse import follow

#: A JobSpec member by name, or a whole spec as a mapping.
Spec = Mapping[str, Any]
Inputs = Sequence[Mapping[str, Any]]


class Jobs(Group):
    """One id for life, across retries."""

    async def plan(
        self, command: Sequence[str] | str | None = None, *, spec: Spec | None = None, **more: Any
    ) -> Plan:
        """Return what ``create`` with the same arguments would cost and when it would start.

        Makes nothing.
        """
        body = _spec(command, spec, more)
        answer = await self._transport.call("POST", "/v1/jobs/plan", body=body, idempotent=True)
        return decode(Plan, answer)

    async def create(
        self,
        command: Sequence[str] | str | None = None,
        *,
        spec: Spec | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Job:
        """Submit a Job, once and only once, however often the request must be sent.

        Args:
            command: Program and arguments; a string is split as a shell would and never given
                to one.
            spec: Further members of the JobSpec as a mapping; ``more`` wins over it.
            idempotency_key: Makes the submission safe across runs of a script: within 48 h the
                same key gives the same Job.
            **more: Members of the JobSpec: ``name``, ``inputs``, ``env``, ``resources``,
                ``max_runtime_s``, ``retry``, ``priority``, ``labels``, ``grace_s``, …

        Raises:
            InvalidInput: a member is wrong; ``extra['field']`` may say which.
            PaymentRequired: the hold is more than the account has.
            IdempotencyConflict: the key was used with another body.
        """
        body = _spec(command, spec, more)
        answer = await self._transport.call(
            "POST", "/v1/jobs", body=body, creates=True, key=idempotency_key
        )
        return decode(Job, answer)

    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        name: str | None = None,
        pool: str | None = None,
        workload: str | None = None,
        label: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """Yield Jobs, newest first, fetching pages as needed; at most ``limit``.

        ``state`` is one state or several; ``label`` is ``key:value``.
        """
        params = {
            "state": state if state is None or isinstance(state, str) else [*state],
            "name": name,
            "pool": pool,
            "workload": workload,
            "label": label,
            "created_after": created_after,
            "created_before": created_before,
        }
        return pages(self._transport, Job, "/v1/jobs", params, limit)

    async def get(self, job_id: str) -> Job:
        """Return one Job."""
        return decode(Job, await self._transport.call("GET", _path(job_id)))

    async def cancel(self, job_id: str) -> Job:
        """Ask the Job to end; it is CANCELLING until its processes have."""
        return await self._verb(job_id, "cancel")

    async def pause(self, job_id: str) -> Job:
        """Stop the Job after its grace period; it keeps its checkpoint and holds no credits."""
        return await self._verb(job_id, "pause")

    async def resume(self, job_id: str) -> Job:
        """Queue a paused Job again, from its last checkpoint."""
        return await self._verb(job_id, "resume")

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Return a new Job with the same spec; its ``retry_of`` is ``job_id``."""
        answer = await self._transport.call(
            "POST", _path(job_id, "retry"), creates=True, key=idempotency_key
        )
        return decode(Job, answer)

    async def set_priority(self, job_id: str, priority: int) -> Job:
        """Change where the Job stands in the queue; higher runs sooner."""
        answer = await self._transport.call("PATCH", _path(job_id), body={"priority": priority})
        return decode(Job, answer)

    async def delete(self, job_id: str) -> None:
        """Delete an ended Job with its files.

        Raises:
            Conflict: it has not ended.
        """
        await self._transport.call("DELETE", _path(job_id))

    async def checkpoint(self, job_id: str) -> None:
        """Ask the running Attempt for a snapshot; it comes when the program writes it."""
        await self._transport.call("POST", _path(job_id, "checkpoint"))

    async def attempts(self, job_id: str) -> tuple[Attempt, ...]:
        """Return the executions of the Job so far."""
        return items(Attempt, await self._transport.call("GET", _path(job_id, "attempts")))

    def events(
        self, job_id: str, *, after_seq: int | None = None, limit: int | None = None
    ) -> AsyncIterator[Event]:
        """Yield what happened to the Job, in order."""
        params = {"after_seq": after_seq}
        return pages(self._transport, Event, _path(job_id, "events"), params, limit)

    async def logs(
        self,
        job_id: str,
        *,
        stream: str = "stdout",
        attempt: int | None = None,
        offset: int | None = None,
        limit: int | None = None,
        tail: int | None = None,
    ) -> Log:
        """Return a piece of a log.

        Args:
            stream: ``stdout``, ``stderr`` or ``system``.
            attempt: Number of the Attempt; the last one if None.
            offset: First byte. limit: Bytes at most.
            tail: Last lines instead.
        """
        params = {
            "stream": stream,
            "attempt": attempt,
            "offset": offset,
            "limit": limit,
            "tail": tail,
        }
        return decode(Log, await self._transport.call("GET", _path(job_id, "logs"), params=params))

    async def follow_logs(
        self, job_id: str, *, offset: int | None = None
    ) -> AsyncIterator[Log | StateChange]:
        """Yield log pieces and changes of state as they come, until the Job has ended.

        A dropped connection is resumed without loss or duplicate. The last item is a
        ``StateChange`` with ``final`` true.

        Raises:
            Unreachable: the server could not be read for a minute.
        """
        feed = LogFeed(lambda **what: self.logs(job_id, **what))
        path = _path(job_id, "logs", "follow")
        async with aclosing(follow(self._transport, path, {"offset": offset})) as messages:
            async for message in messages:
                async for item in feed.take(message):
                    yield item

    async def metrics(self, job_id: str) -> tuple[MetricSummary, ...]:
        """Return every metric's name, number of points and latest value."""
        return items(MetricSummary, await self._transport.call("GET", _path(job_id, "metrics")))

    async def series(
        self,
        job_id: str,
        key: str,
        *,
        max_points: int | None = None,
        first_step: int | None = None,
        last_step: int | None = None,
    ) -> MetricSeries:
        """Return the points of one metric, thinned to ``max_points`` (2,000 if None)."""
        params = {
            "key": key,
            "max_points": max_points,
            "first_step": first_step,
            "last_step": last_step,
        }
        answer = await self._transport.call("GET", _path(job_id, "metrics"), params=params)
        return _series(key, answer)

    async def follow_metrics(self, job_id: str) -> AsyncIterator[MetricPoint]:
        """Yield metric points as they come, each once, until the Job has ended."""
        feed = MetricFeed()
        path = _path(job_id, "metrics", "follow")
        async with aclosing(follow(self._transport, path)) as messages:
            async for message in messages:
                point = feed.take(message)
                if point is not None:
                    yield point

    async def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """Return what the Job left, with the files of each."""
        return items(Artifact, await self._transport.call("GET", _path(job_id, "artifacts")))

    async def checkpoints(self, job_id: str) -> tuple[Artifact, ...]:
        """Return the snapshots from which the Job can resume."""
        return items(Artifact, await self._transport.call("GET", _path(job_id, "checkpoints")))

    async def pin(self, job_id: str, artifact_id: str, pinned: bool = True) -> None:
        """Keep a checkpoint (or stop keeping it) when older ones are deleted."""
        path = _path(job_id, "checkpoints", artifact_id)
        await self._transport.call("PATCH", path, body={"pinned": pinned})

    async def receipt(self, job_id: str) -> Receipt:
        """Return what the Job took and cost.

        Raises:
            Conflict: it has not ended.
        """
        return decode(Receipt, await self._transport.call("GET", _path(job_id, "receipt")))

    async def wait(
        self, job_id: str, timeout_s: float | None = None, *, poll_s: float = 2.0
    ) -> Job:
        """Return the Job once it has ended, looking every ``poll_s`` seconds at most.

        Raises:
            WaitTimeout: it has not within ``timeout_s`` seconds; it goes on.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        pause = min(0.1, poll_s)
        while True:
            job = await self.get(job_id)
            if job.ended:
                return job
            left = float("inf") if until is None else until - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{job_id} is still {job.state} after {timeout_s:g} s.")
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, poll_s)

    async def download(
        self, job_id: str, path: str | None = None, target: str | Path = "."
    ) -> Path:
        """Save a file of the Job, or all of them as a zip, and return where it is.

        See ``downloads.save``; a zip is never unpacked.
        """
        return await Downloads(self._transport).save(job_id, path, target)

    async def _verb(self, job_id: str, verb: str) -> Job:
        return decode(Job, await self._transport.call("POST", _path(job_id, verb)))


def _path(job_id: str, *more: str) -> str:
    return "/".join(["/v1/jobs", *(part(piece) for piece in (job_id, *more))])


def _spec(command: Sequence[str] | str | None, spec: Spec | None, more: Spec) -> dict[str, Any]:
    body = {**(spec or {}), **{k: v for k, v in more.items() if v is not None}}
    if command is not None:
        body["command"] = command if isinstance(command, str) else [*command]
    if "inputs" in body:
        body["inputs"] = [dict(item) for item in body["inputs"]]
    return body


def _series(key: str, answer: Any) -> MetricSeries:
    try:
        points = tuple(
            MetricPoint(
                key=key,
                step=point[0],
                at_ms=point[1],
                value=point[2],
                flag=point[3] if len(point) > 3 else None,
            )
            for point in answer["points"]
        )
        return MetricSeries(key=key, points=points, buckets=bool(answer.get("buckets")), raw=answer)
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswer("The server sent a metric that cannot be read.") from error
