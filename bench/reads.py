"""Reads under load over 100,000 jobs, start time, idle memory, and the CLI's help."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from tests.support.server import Server

from bench.rows import Row, percentile
from trainshed.domain.job import Job, JobSpec
from trainshed.domain.states import Intent, JobState, Reason
from trainshed.store.engine import open_store

RATE = 500
CONNECTIONS = 32


def fill(data: Path, n: int) -> None:
    """Put ``n`` ended jobs of the admin's account straight into the store (no server running)."""
    store = open_store(f"sqlite:///{data / 'trainshed.db'}")
    account = store.read(lambda tx: tx.people.find_account("admin"))
    assert account is not None
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    def some(first: int) -> None:
        def apply(tx):  # type: ignore[no-untyped-def]
            for i in range(first, min(first + 1000, n)):
                at = begin + timedelta(seconds=i)
                tx.jobs.insert(
                    Job(
                        f"job_{i:032x}", account.id, None, "native", f"old {i}",
                        JobSpec(command=("true",)), "local-cpu", at, JobState.CANCELLED,
                        Intent.CANCEL, JobState.CANCELLED, Reason.CANCELLED, ended_at=at,
                    ),
                    None,
                )  # fmt: skip

        store.write(apply)

    for first in range(0, n, 1000):
        some(first)
    store.close()


async def load(server: Server, seconds: float) -> list[float]:
    """Return latencies in ms of lists and shows at ``RATE`` requests per second, open loop.

    Raw sockets: an HTTP library would need as much of the two cores as the server itself, and its
    own queue would be measured.
    """
    key = server.credentials["api_key"]
    head = f"Host: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {key}\r\n\r\n"
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", server.port))
    out: list[float] = []

    async def one(number: int, asked: float) -> None:
        reader, writer = await idle.get()
        path = "/v1/jobs?limit=20" if number % 2 else f"/v1/jobs/job_{number:032x}"
        writer.write(f"GET {path} HTTP/1.1\r\n{head}".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        out.append((time.perf_counter() - asked) * 1000)
        idle.put_nowait((reader, writer))

    tasks = []
    begin = time.perf_counter()
    for number in range(int(RATE * seconds)):
        wait = begin + number / RATE - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number, time.perf_counter())))
    await asyncio.gather(*tasks)
    while not idle.empty():
        idle.get_nowait()[1].close()
    return out


def rows(server: Server, scale: int) -> list[Row]:
    """Measure everything of this file; restarts the server."""
    server.stop()
    fill(server.data, 100_000)
    begin = time.perf_counter()
    server.start()
    start_s = time.perf_counter() - begin
    process = psutil.Process(server.process.pid)  # type: ignore[union-attr]
    time.sleep(2)
    idle = process.memory_info().rss / 1e6
    times = asyncio.run(load(server, 5 * scale))
    out = [
        Row(
            "reads at 500/s over 100k jobs, p99", percentile(times, 0.99), "ms", 25, "goal", 1, True
        ),
        Row("server start over 100k jobs", start_s, "s", 1.5, "goal", 1, True),
        Row("idle server memory", idle, "MB", 150, "goal", 1, True),
    ]
    trainshed = str(Path(sys.executable).parent / "trainshed")
    spent = []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run([trainshed, "--help"], check=True, stdout=subprocess.DEVNULL)
        spent.append((time.perf_counter() - begin) * 1000)
    out.append(Row("trainshed --help", percentile(spent, 0.5), "ms", 150, "goal", 1, True))
    return out
