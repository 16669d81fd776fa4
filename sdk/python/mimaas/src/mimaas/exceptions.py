"""What can go wrong.

MIMaaSError
├── NetworkError            no answer came, the server failed, or what answers is no MIMaaS server
├── AuthenticationError     no token, or one the server does not take (401, 403)
├── QuotaExceededError      no runs left (403)
├── ValidationError         the model, the board or a form is wrong (400)
├── ResourceNotFoundError   absent, or another account's (404)
├── ProcessingError         the request ended without results
├── BoardNotAvailableError  the board cannot be used
├── TimeoutError            a request did not end in the time given; also Python's own TimeoutError
└── ConfigurationError      a file, a variable or an argument of the configuration is wrong
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from typing import Any

_LONGEST_TEXT = 2000


class MIMaaSError(Exception):
    """Base of every failure that this package raises on purpose."""


class NetworkError(MIMaaSError):
    """No usable answer came. ``status_code`` is the HTTP status, None if there was none."""

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class AuthenticationError(MIMaaSError):
    """There is no token, or the server does not take it."""


class QuotaExceededError(MIMaaSError):
    """The account has no runs left; nothing was submitted."""

    def __init__(self, available_runs: int = 0, message: str | None = None) -> None:
        super().__init__(message or f"No available runs remaining. Available: {available_runs}")
        self.available_runs = available_runs


class ValidationError(MIMaaSError):
    """The server refuses what was sent: it says what is wrong with it. No run is taken."""


class ProcessingError(MIMaaSError):
    """The request ended without results; ``stage`` is where, if that is known."""

    def __init__(self, stage: str | None = None, message: str | None = None) -> None:
        where = f" at stage '{stage}'" if stage else ""
        super().__init__(f"Processing failed{where}" + (f": {message}" if message else ""))
        self.stage = stage
        self.message = message


class ResourceNotFoundError(MIMaaSError):
    """Absent, or another account's: the two are never told apart."""


class BoardNotAvailableError(MIMaaSError):
    """The board is unknown or cannot be used now."""


class TimeoutError(MIMaaSError, builtins.TimeoutError):
    """The request goes on, but did not end in the time that was given."""


class ConfigurationError(MIMaaSError):
    """A file, a variable or an argument of the configuration cannot be used."""


def from_answer(status: int, body: bytes) -> MIMaaSError:
    """Return the error that an answer of 400 or more is."""
    message = _message(body) or f"HTTP {status}"
    if status == 403 and "no available runs" in message.lower():
        return QuotaExceededError()
    known: Mapping[int, type[MIMaaSError]] = {
        400: ValidationError,
        401: AuthenticationError,
        403: AuthenticationError,
        404: ResourceNotFoundError,
    }
    if status in known:
        return known[status](message)
    kind = f"Server error ({status})" if status >= 500 else f"HTTP {status}"
    return NetworkError(f"{kind}: {message}", status)


def _message(body: bytes) -> str:
    """Return the text of an error's body: its ``message``, else the body itself."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    said = found.get("message") if isinstance(found, dict) else None
    text = said if isinstance(said, str) else body.decode("utf-8", "replace")
    return text.strip()[:_LONGEST_TEXT]
