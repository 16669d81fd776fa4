"""Webhooks: deliveries per second against a bare HTTP client in the same run, and their latency."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import httpx2
from tests.support.server import Api, Server, eventually
from tests.support.sink import Sink, sinking

from bench.rows import Row, percentile
from trainshed.domain.events import Event
from trainshed.store.engine import open_store

AT_ONCE = 16


async def _bare(url: str, n: int) -> float:
    """Return POSTs per second of the same size, as many at once as one webhook may have."""
    body = b"x" * 600
    left = iter(range(n))
    async with httpx2.AsyncClient() as http:

        async def work() -> None:
            for _ in left:
                answer = await http.post(url, content=body)
                assert answer.status_code == 200

        begin = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return n / (time.perf_counter() - begin)


def _through(server: Server, sink: Sink, n: int) -> float:
    """Return deliveries per second of ``n`` events that wait in the log when the server starts."""
    api = Api(server)
    body = {"name": "b", "url": sink.url("/ok/many"), "events": ["job.priority"]}
    hook = api.ok(api.http.post("/v1/webhooks", json=body))
    account = api.ok(api.http.get("/v1/me"))["account"]["id"]
    server.stop()
    store = open_store(f"sqlite:///{server.data / 'trainshed.db'}")
    one = Event("job.priority", account, datetime.now(UTC))
    store.write(lambda tx: [tx.events.append(one) for _ in range(n)])
    store.close()
    server.start()
    eventually(lambda: len({g.id for g in sink.at("/ok/many")}) >= n, 300, "the backlog")
    times = [g.at for g in sink.at("/ok/many")]
    api = Api(server)
    api.http.delete(f"/v1/webhooks/{hook['id']}")
    return (n - 1) / (times[n - 1] - times[0])


def _latency(api: Api, sink: Sink, job_id: str, n: int) -> list[float]:
    """Return milliseconds from the answer that made the event to its arrival, one at a time."""
    body = {"name": "l", "url": sink.url("/ok/one"), "events": ["job.priority"]}
    api.ok(api.http.post("/v1/webhooks", json=body))
    out = []
    for i in range(n):
        before = len(sink.at("/ok/one"))
        begin = time.monotonic()
        api.ok(api.http.patch(f"/v1/jobs/{job_id}", json={"priority": i}))
        eventually(lambda b=before: len(sink.at("/ok/one")) > b, 30)  # type: ignore[misc]
        out.append((sink.at("/ok/one")[-1].at - begin) * 1000)
    return out


def rows(server: Server, scale: int) -> list[Row]:
    """Measure everything of this file; the server must allow loopback."""
    api = Api(server)
    job_id = api.submit(["sleep", "600"], resources={"cpus": 0.05})
    api.wait(job_id, "RUNNING")
    n = 500 * scale
    with sinking() as sink:
        asyncio.run(_bare(sink.url("/ok/warm"), 100))
        floor = asyncio.run(_bare(sink.url("/ok/bare"), n))
        rate = _through(server, sink, n)
        api = Api(server)
        times = _latency(api, sink, job_id, 50)
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    return [
        Row("webhook deliveries", rate, "/s", floor, "bare httpx2 POSTs/s", 0.3),
        Row("event → delivery p50", percentile(times, 0.5), "ms", 100, "goal ms", 1, True),
        Row("event → delivery p99", percentile(times, 0.99), "ms", 1000, "goal ms", 1, True),
    ]
