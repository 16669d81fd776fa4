"""One HTTP connection pool, the key, retries, and errors that say what to do.

Only calls that may be sent twice are: GET, and a POST that carries an ``Idempotency-Key``, which is
the same on every try. What the server asks for in ``Retry-After`` is waited for.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

import httpx2

from middleman.errors import (
    ApiError,
    AuthenticationError,
    BadAnswerError,
    ConflictError,
    MiddlemanError,
    UnreachableError,
    from_answer,
)
from trainshed_client.backoff import PASSING, Backoff, retry_after_s

_CONNECT_S = 10.0
#: The longest silence while a file travels.
_QUIET_S = 120.0
_CHUNK = 256 * 1024
Json = Mapping[str, Any]
T = TypeVar("T")


class Transport:
    """Sends requests to one server with one key."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout_s: float = 30.0,
        backoff: Backoff | None = None,
        http: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        base = httpx2.URL(url)
        if base.scheme not in ("http", "https") or not base.host:
            raise MiddlemanError(f"{url!r} is no address; it looks like http://host:8000/api/v1")
        if not (api_key.isascii() and api_key.isprintable()):
            raise AuthenticationError("The API key holds characters that no key has; copy it again")
        self.url, self._key = url, api_key
        self._backoff = backoff or Backoff()
        self.sleep = sleep
        self._http = httpx2.Client(
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
            transport=http,
            headers={"User-Agent": f"middleman-python/{version('middleman-ml')}"},
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        body: Json | None = None,
        repeatable: bool = False,
    ) -> Any:
        """Send one request and return its JSON, {} for an empty answer.

        A ``repeatable`` POST gets an Idempotency-Key.

        Raises:
            MiddlemanError: the class tells what happened; see ``errors``.
        """
        headers = {"Accept": "application/json", "X-API-Key": self._key}
        if repeatable:
            headers["Idempotency-Key"] = uuid.uuid4().hex

        def once() -> Any:
            return self._once(method, path, headers, params, body)

        return self.patiently(once) if repeatable or method == "GET" else once()

    def patiently(self, once: Callable[[], T]) -> T:
        """Return what ``once`` returns, which may be done again after a failure that may pass."""
        failed = 0
        while True:
            try:
                return once()
            except (ApiError, UnreachableError) as error:
                failed += 1
                wait = self._wait_s(error, failed)
                if wait is None:
                    raise
            self.sleep(wait)

    def _once(
        self, method: str, path: str, headers: Json, params: Json | None, body: Json | None
    ) -> Any:
        with self._explained():
            answer = self._http.request(
                method,
                self.url + path,
                params={k: v for k, v in (params or {}).items() if v is not None},
                headers=dict(headers),
                json=body,
            )
        _raise_for(answer, answer.content)
        if not answer.content:
            return {}
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise BadAnswerError(
                f"{self.url} did not answer with JSON; is that a Middleman server?"
            ) from error

    def _wait_s(self, error: MiddlemanError, failed: int) -> float | None:
        """Return how long to wait before the next try, None to give up."""
        asked = None
        if isinstance(error, ApiError):
            in_flight = isinstance(error, ConflictError) and error.code == "idempotency_conflict"
            if error.status_code not in PASSING and not (in_flight and failed > 1):
                return None
            asked = error.retry_after_s
        return self._backoff.wait_s(failed, asked)

    def put(self, url: str, content: Iterable[bytes], size: int, content_type: str) -> None:
        """Send a file to a signed address, which never gets the key. Never sent twice."""
        headers = {"Content-Type": content_type, "Content-Length": str(size)}
        with self._explained():
            answer = self._http.put(
                url, content=content, headers=headers, timeout=httpx2.Timeout(_QUIET_S)
            )
        _raise_for(answer, answer.content)

    @contextmanager
    def fetch(self, url: str) -> Iterator[tuple[httpx2.Headers, Iterator[bytes]]]:
        """Open a signed address and give the answer's headers and its bytes as they come."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        timeout = httpx2.Timeout(_QUIET_S, connect=_CONNECT_S)
        with (
            self._explained(),
            self._http.stream("GET", url, headers=headers, timeout=timeout) as answer,
        ):
            if answer.status_code >= 300:
                _raise_for(answer, answer.read())
            yield answer.headers, answer.iter_bytes(_CHUNK)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the HTTP library's failures into ours, with the next thing to try."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise UnreachableError(
                f"Cannot connect to {self.url}: {str(error) or 'no answer'}. Is the server up? "
                "MIDDLEMAN_API_URL or --api-url names another."
            ) from error
        except httpx2.TimeoutException as error:
            raise UnreachableError(f"{self.url} did not answer in time.") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise UnreachableError(f"The connection to {self.url} broke: {error}") from error
        except httpx2.InvalidURL as error:
            raise BadAnswerError(f"{self.url} named an address that is none.") from error


def _raise_for(answer: httpx2.Response, body: bytes) -> None:
    """Raise the error that ``answer`` is, if its status is 300 or more."""
    if answer.status_code < 300:
        return
    if answer.is_redirect:
        where = answer.headers.get("location", "elsewhere")
        raise ApiError(
            answer.status_code, f"The server sends us to {where}; use that address if you trust it."
        )
    raise from_answer(
        answer.status_code,
        body,
        retry_after_s=retry_after_s(answer.headers.get("retry-after"), datetime.now(UTC)),
        request_id=answer.headers.get("x-request-id"),
    )
