"""What commands share: the client of this call, pages as JSON, progress of files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli.context import echo_json, jsonable

if TYPE_CHECKING:  # only names of types: the HTTP library loads when a command runs
    from middleman.client import MiddlemanClient

#: What follows a job outlives a restart of the server.
PATIENT = 12


def api_url() -> str:
    """Return the API's address for this call: the root's option, or the environment's."""
    from middleman import settings

    return settings.base_url(click.get_current_context().find_root().params.get("api_url"))


@contextmanager
def open_client(key: str | None = None, *, retries: int = 4) -> Iterator[MiddlemanClient]:
    """Give the client for this call; its key is ``key``, else the environment's or the file's."""
    from middleman import settings
    from middleman.client import MiddlemanClient

    found = key or settings.environment_key() or settings.stored_key()
    with MiddlemanClient(found, api_url(), retries=retries) as client:
        yield client


def echo_page(found: Sequence[Any], total: int) -> None:
    """Print a page of objects as JSON."""
    echo_json({"data": jsonable(list(found)), "total": total})


@contextmanager
def travelling(name: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show on standard error how far a file is, where somebody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from trainshed_client.cli.render import console
    from trainshed_client.cli.safe_text import plain

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as progress:
        task = progress.add_task(plain(name), total=None)

        def told(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield told
