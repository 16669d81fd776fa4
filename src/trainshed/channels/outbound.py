"""HTTP to addresses that users gave (``ports.channel.Outbound``): the one guard against SSRF.

The name is resolved once, every address it has is judged by ``domain.outbound``, and the socket is
opened to a judged address; TLS and Host keep the name. No redirect is followed, no proxy of the
environment is used, no more than 64 KiB is read, and all of it takes at most 10 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore2
import psutil

from trainshed.domain.errors import InvalidInput, Unavailable
from trainshed.domain.outbound import Rules, allowed
from trainshed.ports.channel import Answer

LIMIT_BYTES = 64 * 1024
DEADLINE_S = 10.0
CONNECTIONS = 256
IDLE_S = 15.0
LOOKUPS = 64
MAX_URL = 2048

#: (host, port) -> every address of the host, as text.
Resolver = Callable[[str, int], Awaitable[list[str]]]

_HOST = re.compile(r"[A-Za-z0-9._:%\-]{1,253}\Z")
_BLOCKED = "The address is not allowed from this server."


class Lookups:
    """DNS on daemon threads of its own: a name that never answers holds up nobody else."""

    def __init__(self) -> None:
        """Nothing is looked up."""
        self._room = asyncio.Semaphore(LOOKUPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses.

        Raises:
            OSError: the name has none.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()

        def told(found: list[str], error: OSError | None) -> None:
            if not future.done():
                future.set_exception(error) if error else future.set_result(found)

        def look() -> None:
            found: list[str] = []
            wrong: OSError | None = None
            try:
                rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(row[4][0]) for row in rows))
            except (OSError, UnicodeError) as error:
                wrong = OSError(str(error))
            if not loop.is_closed():
                loop.call_soon_threadsafe(told, found, wrong)

        async with self._room:
            threading.Thread(target=look, name="lookup", daemon=True).start()
            return await future


class Guard(httpcore2.AsyncNetworkBackend):
    """Opens sockets to judged addresses only."""

    def __init__(self, rules: Rules, resolve: Resolver | None = None) -> None:
        """Judge by ``rules``; ``resolve`` is for tests."""
        self._rules, self._resolve = rules, resolve or Lookups()
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve once, judge all, connect to one of them."""
        wrong: Exception | None = None
        for address in await self.addresses(host, port):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                wrong = error
        raise wrong or Unavailable("The host has no address.")

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the host's addresses.

        Raises:
            Unavailable: it has none, or any of them is not allowed.
        """
        try:
            found = [str(ip_address(host))]
        except ValueError:
            try:
                found = await self._resolve(host, port)
            except OSError:
                raise Unavailable("The host name cannot be resolved.") from None
        mine = own_addresses()
        if not all(allowed(self._rules, host, port, a, mine) for a in found):
            raise Unavailable(_BLOCKED)
        return found

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class GuardedHttp:
    """``ports.channel.Outbound``; one connection pool, made at the first call."""

    def __init__(self, rules: Rules, resolve: Resolver | None = None) -> None:
        """Nothing is opened yet."""
        self._rules, self._resolve = rules, resolve
        self._pool: httpcore2.AsyncConnectionPool | None = None
        self.tls: ssl.SSLContext | None = None

    def check(self, url: str) -> str:
        """Return the URL without fragment; see ``Outbound.check``."""
        parts = _parts(url)
        host, port = parts.hostname or "", _port(parts)
        literal = _literal(host)
        if literal and not allowed(self._rules, host, port, literal, own_addresses()):
            raise InvalidInput(
                "url: this address is not allowed; it must be public and on a usual port, unless"
                " the operator lists it in outbound_allow.",
                field="url",
            )
        return parts._replace(fragment="").geturl()

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """Send once; see ``Outbound.post``."""
        try:
            target = self.check(url)
            async with asyncio.timeout(DEADLINE_S):
                return await self._post(target, headers, content)
        except TimeoutError:
            raise Unavailable(f"No whole answer within {DEADLINE_S:g} s.") from None
        except InvalidInput as error:
            raise Unavailable(error.detail) from error
        except (httpcore2.TimeoutException, httpcore2.PoolTimeout):
            raise Unavailable("The connection timed out.") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise Unavailable(f"The connection failed ({type(error).__name__}).") from None

    async def _post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=self.tls or ssl.create_default_context(),
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS // 4,
                keepalive_expiry=IDLE_S,
                network_backend=Guard(self._rules, self._resolve),
            )
        sent = [(k.encode(), v.encode()) for k, v in headers.items()]
        async with self._pool.stream("POST", url, headers=sent, content=content) as response:
            body = bytearray()
            async for part in response.aiter_stream():
                body += part
                if len(body) >= LIMIT_BYTES:
                    break
        got = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
        return Answer(response.status, got, bytes(body[:LIMIT_BYTES]))

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()


def own_addresses() -> frozenset[str]:
    """Return this machine's own addresses."""
    found = psutil.net_if_addrs().values()
    return frozenset(
        one.address.partition("%")[0]
        for rows in found
        for one in rows
        if one.family in (socket.AF_INET, socket.AF_INET6)
    )


def retry_after_s(answer: Answer) -> float:
    """Return the seconds that a busy server asks for, 0 if none."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 8 else 0.0


def text_of(answer: Answer) -> str:
    """Return the body as text."""
    return answer.body.decode("utf-8", "replace")


def _literal(host: str) -> str:
    """Return the address that a host spells out, in every form that a resolver takes without
    asking anyone (0x7f000001, 127.1, localhost); "" for a name.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    with contextlib.suppress(ValueError):
        return str(ip_address(name))
    with contextlib.suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(name))
    return ""


def _parts(url: object) -> SplitResult:
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL:
        raise InvalidInput(f"url must have 1 to {MAX_URL} characters.", field="url")
    if not url.isascii() or any(c <= " " or c in '"<>\\^`{|}\x7f' for c in url):
        raise InvalidInput("url must be ASCII without spaces; encode other signs.", field="url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("url is not well-formed.", field="url") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidInput("url must begin with http:// or https://.", field="url")
    if "@" in parts.netloc:
        raise InvalidInput("url must not hold a name or password.", field="url")
    if not _HOST.match(parts.hostname or "") or port == 0:
        raise InvalidInput("url must name a host.", field="url")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)
