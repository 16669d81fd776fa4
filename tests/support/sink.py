"""A real HTTP server on loopback that takes webhooks, well or badly, and remembers them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Sink:
    """The path says how it answers: ok, fail, flaky (first fails), hang, slow, redirect, big."""

    port: int = 0
    got: list[Got] = field(default_factory=list)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    open: bool = True

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Got]:
        return [g for g in list(self.got) if g.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            try:
                while await self._one(reader, writer):
                    pass
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = first.split()[1]
        one = Got(path, headers, body, time.monotonic())
        self.got.append(one)
        self.tries[path, one.id] += 1
        return await self._answer(path, self.tries[path, one.id], writer)

    async def _answer(self, path: str, tries: int, writer: asyncio.StreamWriter) -> bool:
        kind = path.split("/")[1]
        status, extra, body = "200 OK", "", b"taken"
        if kind == "fail" or not self.open or (kind == "flaky" and tries == 1):
            status = "500 Internal Server Error"
        if kind == "hang":
            await asyncio.sleep(60)
            return False
        if kind == "slow":
            await asyncio.sleep(0.5)
        if kind == "redirect":
            status, extra = "302 Found", f"location: {self.url('/trap')}\r\n"
        if kind == "big":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(10_000):
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                await writer.drain()
            return False
        writer.write(
            f"HTTP/1.1 {status}\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()
        return True


@contextlib.contextmanager
def sinking(port: int = 0) -> Iterator[Sink]:
    """Serve a Sink in a thread of its own."""
    sink, ready = Sink(), threading.Event()
    loop, done = asyncio.new_event_loop(), asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(sink.serve, "127.0.0.1", port)
        sink.port = server.sockets[0].getsockname()[1]
        ready.set()
        await done.wait()
        server.close()
        me = asyncio.current_task()
        rest = [t for t in asyncio.all_tasks() if t is not me]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.05)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
