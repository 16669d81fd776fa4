"""One HTTP connection pool, the credential, retries, and errors that say what to do.

Only calls that may be sent twice are retried: those that HTTP calls idempotent (GET, PUT, DELETE),
those marked so, and those with an ``Idempotency-Key``, which is the same on every try.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2

from trainshed_client.backoff import PASSING, Backoff, retry_after_s
from trainshed_client.errors import (
    BadAnswer,
    ConfigProblem,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    TrainshedError,
    Unreachable,
    from_response,
)

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
Params = Mapping[str, Any]


def user_agent() -> str:
    """Return how this package introduces itself."""
    from importlib.metadata import version

    return f"trainshed-client/{version('trainshed-client')}"


def clean(values: Params | None) -> dict[str, Any]:
    """Return ``values`` without those that are None, and times as the API writes them."""
    return {k: _plain(v) for k, v in (values or {}).items() if v is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time must have a time zone, e.g. datetime.now(timezone.utc)")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _sendable(body: Any) -> Any:
    """Return ``body`` if it can go as JSON in UTF-8.

    Raises:
        InvalidInput: a number is not finite, or a text came from bytes that are no UTF-8.
    """
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("A text that was given is not valid UTF-8.") from error
    except ValueError as error:
        raise InvalidInput("A number that was given is not finite.") from error
    return body


class Transport:
    """Sends requests to one server on behalf of one principal."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        backoff: Backoff | None = None,
        http: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        base = httpx2.URL(url)
        if base.scheme not in ("http", "https") or not base.host:
            raise ConfigProblem(f"{url!r} is no server address; it looks like http://host:8000")
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ConfigProblem("The API key holds characters that no key has; copy it again.")
        self.url = str(base).rstrip("/")
        self._key = api_key
        self.backoff = backoff or Backoff()
        self.sleep = sleep
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout_s, connect=10.0),
            transport=http,
            headers={"User-Agent": user_agent()},
            follow_redirects=False,
            trust_env=True,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def full(self, path: str) -> str:
        """Return the address of ``path``, which is under the server unless it is absolute."""
        return path if "://" in path else self.url + path

    def headers(self, path: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers for ``path``; a signed (absolute) address never gets the key."""
        found = {"Accept": "application/json", **(extra or {})}
        if self._key and "://" not in path:
            found["Authorization"] = f"Bearer {self._key}"
        return found

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        creates: bool = False,
        idempotent: bool | None = None,
        key: str | None = None,
    ) -> Any:
        """Send one request and return its JSON, or None for an empty answer.

        ``creates`` sends an Idempotency-Key (``key``, or a new one). ``idempotent`` overrides what
        the method says.

        Raises:
            TrainshedError: the class tells what happened; see ``errors``.
        """
        extra = {"Idempotency-Key": key or uuid.uuid4().hex} if creates or key else {}
        again = (method in _IDEMPOTENT if idempotent is None else idempotent) or bool(extra)
        failed = 0
        lost = False
        while True:
            try:
                return await self._once(method, path, params, body, extra)
            except TrainshedError as error:
                failed += 1
                if method == "DELETE" and lost and isinstance(error, NotFound):
                    return None  # the lost try did it
                wait = self._wait_s(error, failed) if again else None
                if wait is None:
                    raise
                lost = lost or isinstance(error, Unreachable)
            await self.sleep(wait)

    async def _once(
        self, method: str, path: str, params: Params | None, body: Any, extra: Mapping[str, str]
    ) -> Any:
        with_body = {} if body is None else {"json": _sendable(body)}
        with explained(self.url):
            answer = await self._http.request(
                method,
                self.full(path),
                params=clean(params) or None,
                headers=self.headers(path, extra),
                **with_body,
            )
        raise_for(answer, answer.content)
        if not answer.content:
            return None
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise BadAnswer(
                f"{self.url} did not answer with JSON; is that a Trainshed server?",
                status=answer.status_code,
            ) from error

    def _wait_s(self, error: TrainshedError, failed: int) -> float | None:
        in_flight = isinstance(error, IdempotencyConflict) and error.status == 409 and failed > 1
        if not (isinstance(error, Unreachable) or error.status in PASSING or in_flight):
            return None
        asked = error.extra.get("retry_after_s")
        return self.backoff.wait_s(failed, float(asked) if asked is not None else None)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
        quiet_s: float | None = 60.0,
    ) -> AsyncIterator[httpx2.Response]:
        """Send once and hand over the answer unread; ``quiet_s`` is the longest silence.

        Raises:
            TrainshedError: an answer of 300 or more, or a connection that fails, also mid-way.
        """
        timeout = httpx2.Timeout(quiet_s, connect=10.0)
        with explained(self.url):
            async with self._http.stream(
                method,
                self.full(path),
                params=clean(params) or None,
                headers=self.headers(path, headers),
                content=content,
                timeout=timeout,
            ) as answer:
                if answer.status_code >= 300:
                    raise_for(answer, await answer.aread())
                yield answer


class explained:
    """Turns the HTTP library's failures into ``Unreachable``, with the next thing to try."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            raise Unreachable(
                f"Cannot connect to {self.url}: {str(error) or 'no answer'}. "
                "Is the server up? Start one with `trainshed up`, or name another with "
                "TRAINSHED_URL or `trainshed login URL`."
            ) from error
        if isinstance(error, httpx2.TimeoutException):
            raise Unreachable(f"{self.url} did not answer in time.") from error
        if isinstance(error, httpx2.TransportError | httpx2.DecodingError):
            raise Unreachable(f"The connection to {self.url} broke: {error}") from error
        if isinstance(error, httpx2.InvalidURL):
            raise BadAnswer(f"{self.url} named an address that is none.") from error


def raise_for(answer: httpx2.Response, body: bytes) -> None:
    """Raise the error that ``answer`` is, if its status is 300 or more."""
    if answer.status_code < 300:
        return
    error = from_response(answer.status_code, body, answer.headers.get("x-request-id"))
    asked = retry_after_s(answer.headers.get("retry-after"), datetime.now(UTC))
    if asked is not None:
        error.extra["retry_after_s"] = asked
    if answer.is_redirect:
        where = answer.headers.get("location", "elsewhere")
        error.detail = f"The server sends us to {where}; use that address if you trust it."
        error.args = (error.detail,)
    raise error
