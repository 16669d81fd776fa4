"""What commands share: the client of this call, JSON output, ids by prefix, questions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:  # only names of types: the HTTP library loads when a command runs
    from trainshed_client.client import AsyncClient
    from trainshed_client.sync import Client

F = TypeVar("F", bound=Callable[..., Any])
_SHORTEST = 8
_FULL = 36


def json_option(function: F) -> F:
    """Add ``--json``: nothing but JSON on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON only.")(function)


def yes_option(function: F) -> F:
    """Add ``--yes``, which answers every question."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def target_option(name: str) -> str | None:
    """Return the root's ``url`` or ``profile`` option of this call."""
    found: str | None = click.get_current_context().find_root().params.get(name)
    return found


@contextmanager
def open_client() -> Iterator[Client]:
    """Give the blocking client for this call."""
    from trainshed_client.sync import Client

    with Client(target_option("url"), profile=target_option("profile")) as client:
        yield client


def async_client() -> AsyncClient:
    """Return the async client for this call, for commands that watch two things at once."""
    from trainshed_client.client import AsyncClient

    return AsyncClient(target_option("url"), profile=target_option("profile"))


def jsonable(value: Any) -> Any:
    """Return a model, or models in lists, as the JSON that the server sent."""
    raw = getattr(value, "raw", None)
    if isinstance(raw, dict):
        return raw
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def echo_json(value: Any, *, line: bool = False) -> None:
    """Print ``value`` as one JSON document, on one line if ``line``.

    ASCII only, so that no text of strangers reaches the terminal as it is.
    """
    click.echo(json.dumps(jsonable(value), indent=None if line else 2, allow_nan=False))
    if line:
        sys.stdout.flush()


def confirm(question: str, yes: bool) -> None:
    """Ask, unless ``--yes``; where nobody can answer, say how to go on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to ask: pass --yes.")
    click.confirm(question, abort=True, err=True)


def job_id(client: Client, text: str) -> str:
    """Return the one Job id that starts with ``text``; see ``full_id``."""
    return full_id("job", text, lambda: (job.id for job in client.jobs.list()))


def named(kind: str, text: str, every: Callable[[], Iterable[Any]]) -> str:
    """Return the id of the one thing that ``text`` names, by its name or as ``full_id`` does.

    Raises:
        click.UsageError: several have that name, or their ids start so.
        NotFound: none does.
    """
    if len(text) >= _FULL:
        return text
    found = list(every())
    ids: list[str] = [one.id for one in found if one.name == text]
    if len(ids) > 1:
        raise click.UsageError(f"{text!r} could be {ids[0]} or {ids[1]}: give the id.")
    if not ids and len(text) >= _SHORTEST:
        return full_id(kind, text, lambda: (one.id for one in found))
    if not ids:
        from trainshed_client.errors import NotFound

        raise NotFound(f"There is no {kind} {text!r}.", status=404)
    return ids[0]


def full_id(kind: str, text: str, ids: Callable[[], Iterable[str]]) -> str:
    """Return the one id that starts with ``text``, with or without its prefix such as ``job_``.

    ``ids`` lists what there is; it is not asked when ``text`` is a whole id.

    Raises:
        click.UsageError: it is too short, or several start so.
        NotFound: none does.
    """
    if len(text) >= _FULL:
        return text
    if len(text) < _SHORTEST:
        raise click.UsageError(f"{text!r} is too short: give at least {_SHORTEST} characters.")
    found = matching(text, ids())
    if len(found) > 1:
        raise click.UsageError(f"{text!r} could be {found[0]} or {found[1]}: give more of it.")
    if not found:
        from trainshed_client.errors import NotFound

        raise NotFound(f"No {kind} starts with {text!r}.", status=404)
    return found[0]


def matching(text: str, ids: Iterable[str]) -> list[str]:
    """Return the first two ids that start with ``text``; more would not change the answer."""
    found: list[str] = []
    for one in ids:
        if one.startswith(text) or one.partition("_")[2].startswith(text):
            found.append(one)
            if len(found) > 1:
                break
    return found


def ask_password(from_stdin: bool, *, twice: bool = False) -> str:
    """Return a password from standard input's first line, else from whoever is at the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not _at_terminal():
        raise click.UsageError("No terminal to ask for the password at; use --password-stdin.")
    found: str = click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True)
    return found


def _at_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True
