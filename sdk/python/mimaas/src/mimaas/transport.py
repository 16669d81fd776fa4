"""One HTTP connection pool, the token, retries, and errors that say what to do.

Only what may be sent twice is: a GET whose connection failed, or that the server could not answer
now. A time-out is not tried again: the caller has waited long enough. Redirects are not followed,
so that neither the token nor a model goes to another server.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import httpx2

from mimaas.config import Config
from mimaas.exceptions import (
    AuthenticationError,
    ConfigurationError,
    MIMaaSError,
    NetworkError,
    from_answer,
)

#: Answers after which the same request may well succeed.
PASSING = frozenset({429, 502, 503, 504})
TRIES = 5
_CONNECT_S = 10.0
_FIRST_WAIT_S = 0.25
#: A longer ``Retry-After`` is not waited for.
_PATIENCE_S = 60.0
_CHUNK = 256 * 1024
_LONGEST_ERROR = 64 * 1024


class _Passing(Exception):
    """A failure after which a GET may be tried again; ``wait_s`` is what the server asks for."""

    def __init__(self, error: MIMaaSError, wait_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait_s = error, wait_s


class Transport:
    """Sends requests to the server that ``config`` names."""

    def __init__(
        self,
        config: Config,
        *,
        http: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config = config
        self.sleep = sleep
        self._http = httpx2.Client(
            transport=http,
            verify=config.verify_ssl,
            headers={"User-Agent": f"mimaas-python/{version('mimaas')}", "Accept": "*/*"},
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
        with_token: bool = False,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send one request and return its JSON, None for an empty answer.

        Raises:
            MIMaaSError: the class tells what happened; see ``exceptions``.
        """

        def once() -> Any:
            headers = self._headers(with_token)
            with self._explained():
                answer = self._http.request(
                    method, self.config.api_url + path, headers=headers, timeout=self._timeout(),
                    params=params, json=body, data=form, files=files,
                )  # fmt: skip
            self._refuse(answer, answer.content)
            return self._json(answer)

        return self._patiently(once) if method == "GET" else self._decided(once)

    def download(self, path: str, write: Callable[[Iterator[bytes]], None]) -> None:
        """GET a file with the token and give its bytes to ``write``, anew if it is tried again.

        Raises:
            MIMaaSError: the class tells what happened; a file cut short is a ``NetworkError``.
        """

        def once() -> None:
            headers = {**self._headers(True), "Accept-Encoding": "identity"}
            url = self.config.api_url + path
            with (
                self._explained(),
                self._http.stream("GET", url, headers=headers, timeout=self._timeout()) as answer,
            ):
                if answer.status_code >= 300:
                    self._refuse(answer, answer.read())
                write(answer.iter_bytes(_CHUNK))

        self._patiently(once)

    def _patiently(self, once: Callable[[], Any]) -> Any:
        for failed in range(1, TRIES + 1):
            try:
                return once()
            except _Passing as passing:
                asked = passing.wait_s
                if failed == TRIES or (asked or 0.0) > _PATIENCE_S:
                    raise passing.error from passing.__cause__
            jitter = random.random() * _FIRST_WAIT_S * 2.0 ** (failed - 1)
            self.sleep(jitter if asked is None else asked + jitter)
        raise AssertionError("the last try returns or raises")

    def _decided(self, once: Callable[[], Any]) -> Any:
        try:
            return once()
        except _Passing as passing:
            raise passing.error from passing.__cause__

    def _timeout(self) -> httpx2.Timeout:
        seconds = self.config.timeout
        return httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_S))

    def _headers(self, with_token: bool) -> dict[str, str]:
        if not with_token:
            return {}
        token = self.config.api_token
        if not token:
            raise AuthenticationError(
                "There is no API token: call login() or set MIMAAS_API_TOKEN."
            )
        if not (token.isascii() and token.isprintable()):
            raise AuthenticationError("The API token holds characters that none has; log in again.")
        return {"Authorization": token}

    def _refuse(self, answer: httpx2.Response, body: bytes) -> None:
        """Raise the error that ``answer`` is, if its status is 300 or more."""
        status = answer.status_code
        if status < 300:
            return
        if status < 400:
            where = answer.headers.get("location", "elsewhere")
            raise NetworkError(
                f"HTTP {status}: the server sends us to {where}; use that as api_url if you"
                " trust it.", status,
            )  # fmt: skip
        error = from_answer(status, body[:_LONGEST_ERROR])
        if status in PASSING:
            raise _Passing(error, _seconds(answer.headers.get("retry-after")))
        raise error

    def _json(self, answer: httpx2.Response) -> Any:
        if not answer.content:
            return None
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise NetworkError(
                f"{self.config.api_url} did not answer with JSON; is that a MIMaaS server?",
                answer.status_code,
            ) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the HTTP library's failures into ours, with the next thing to try."""
        url = self.config.api_url
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _Passing(
                NetworkError(
                    f"Cannot connect to {url}: {str(error) or 'no answer'}. Is the server up?"
                    " MIMAAS_API_URL names another."
                )
            ) from error
        except httpx2.TimeoutException as error:
            raise NetworkError(f"{url} did not answer within {self.config.timeout} s.") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise ConfigurationError(
                f"{url!r} is no address; it looks like http://localhost:8000"
            ) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _Passing(NetworkError(f"The connection to {url} broke: {error}")) from error


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None
