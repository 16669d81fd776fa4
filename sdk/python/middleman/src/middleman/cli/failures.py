"""What a failure prints on stderr, and the exit code it has."""

from __future__ import annotations

import click

from middleman.errors import (
    ApiError,
    AuthenticationError,
    InsufficientCreditsError,
    MiddlemanError,
)
from trainshed_client.cli.safe_text import plain

FAILED, JOB_FAILED = 1, 3

_HINTS: tuple[tuple[type[MiddlemanError], str], ...] = (
    (AuthenticationError, "Store a key with `middleman auth`, or set MIDDLEMAN_API_KEY."),
    (InsufficientCreditsError, "See `middleman billing balance`; fewer --max-hours reserve less."),
)


def explain(error: Exception) -> int | None:
    """Print ``error`` if it is one of ours and return its exit code, else None."""
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        click.echo(f"error: {plain(error)}", err=True)  # a file of ours: no folder, no right, …
        return FAILED
    if not isinstance(error, MiddlemanError):
        return None
    text = error.detail if isinstance(error, AuthenticationError) else error
    click.echo(f"error: {plain(text)}", err=True)
    for cls, hint in _HINTS:
        if isinstance(error, cls):
            click.echo(hint, err=True)
    if isinstance(error, ApiError) and error.request_id:
        click.echo(f"request {plain(error.request_id)}", err=True)
    return FAILED
