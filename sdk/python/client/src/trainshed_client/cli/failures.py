"""What a failure prints on stderr, and the exit code it has."""

from __future__ import annotations

import click

from trainshed_client.cli.safe_text import plain
from trainshed_client.errors import (
    ConfigProblem,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PaymentRequired,
    TrainshedError,
    Unavailable,
    Unreachable,
)

FAILED, USAGE, NOT_AUTHENTICATED, NOT_FOUND, NO_CREDITS, UNREACHABLE = 1, 2, 3, 4, 5, 6

_CODES: tuple[tuple[type[TrainshedError], int], ...] = (
    (NotAuthenticated, NOT_AUTHENTICATED),
    (NotFound, NOT_FOUND),
    (PaymentRequired, NO_CREDITS),
    (Unreachable, UNREACHABLE),
    (Unavailable, UNREACHABLE),
    (InvalidInput, USAGE),
    (ConfigProblem, USAGE),
)
_HINTS: tuple[tuple[type[TrainshedError], str], ...] = (
    (
        NotAllowed,
        "See `trainshed whoami`. A login's key may only read and write; admins get more by"
        " `trainshed login URL --scope read --scope write --scope admin`.",
    ),
    (NotAuthenticated, "Log in with `trainshed login URL`, or set TRAINSHED_API_KEY."),
    (PaymentRequired, "See `trainshed credits`; an operator can grant more."),
)


def exit_code(error: TrainshedError) -> int:
    """Return the documented exit code for ``error``."""
    return next((code for cls, code in _CODES if isinstance(error, cls)), FAILED)


def explain(error: Exception) -> int | None:
    """Print ``error`` if it is one of ours and return its exit code, else None."""
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        click.echo(f"error: {plain(error)}", err=True)  # a file of ours: no folder, no right, …
        return FAILED
    if not isinstance(error, TrainshedError):
        return None
    click.echo(f"error: {plain(error.detail)}", err=True)
    for cls, hint in _HINTS:
        if isinstance(error, cls):
            click.echo(hint, err=True)
    if error.request_id:
        click.echo(f"request {plain(error.request_id)}", err=True)
    return exit_code(error)
