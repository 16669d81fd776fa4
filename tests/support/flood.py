"""Many clients at once, from one process of their own: ``python -m tests.support.flood``.

Plain sockets, so that the load costs little beside the server's own work. Clients are rude: they
send again at once, whatever Retry-After says. Prints one JSON line: answers by status, answers
that told to go away without saying when to come back, and seconds of the slowest good answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field


@dataclass
class Seen:
    """What the clients were told."""

    codes: dict[int, int] = field(default_factory=dict)
    untold: int = 0
    broken: int = 0
    good_s: list[float] = field(default_factory=list)


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: bytes) -> bytes:
    """Send one request and return the head of its answer, lower-case."""
    writer.write(what)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(size)
    return head


async def client(port: int, requests: list[bytes], until: float, seen: Seen) -> None:
    """Send the requests in turn, over and over."""
    number = 0
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while time.monotonic() < until:
                began = time.monotonic()
                head = await ask(reader, writer, requests[number % len(requests)])
                number += 1
                code = int(head.split(b" ", 2)[1])
                seen.codes[code] = seen.codes.get(code, 0) + 1
                if code < 300:
                    seen.good_s.append(time.monotonic() - began)
                elif code in (429, 503) and b"\r\nretry-after: " not in head:
                    seen.untold += 1
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            seen.broken += 1


async def main() -> None:
    """Read what to do from standard input: the key must not be in the argument list."""
    given = json.loads(sys.stdin.readline())
    body = json.dumps(given["job"]).encode()
    key = given["key"]
    requests = [request("POST", "/v1/jobs", key, body), request("GET", "/v1/jobs", key)]
    seen = Seen()
    until = time.monotonic() + given["seconds"]
    every = [client(given["port"], requests, until, seen) for _ in range(given["clients"])]
    await asyncio.gather(*every)
    found = asdict(seen)
    slow = sorted(found.pop("good_s"))
    print(json.dumps({**found, "good_p99_s": slow[len(slow) * 99 // 100] if slow else 0.0}))


if __name__ == "__main__":
    asyncio.run(main())
