"""Follows a Job to its end: its logs on our streams, its state in a line at the bottom."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from trainshed_client.cli.jobpage import progress_line
from trainshed_client.cli.render import console, state
from trainshed_client.cli.safe_text import RESET, Defuser, has_open_colour, plain
from trainshed_client.errors import TrainshedError
from trainshed_client.models import Job, Log

if TYPE_CHECKING:
    from trainshed_client.client import AsyncClient

_LOOK_S = 1.0
Print = Callable[[str, str], None]


class Lines:
    """Makes whole, safe lines of the pieces of each stream and prints them."""

    def __init__(self, out: Print, *, colour: bool) -> None:
        self._out, self._colour = out, colour
        self._streams: dict[tuple[int, str], tuple[Defuser, list[str]]] = {}

    def take(self, piece: Log) -> None:
        """Print the lines that ``piece`` completes."""
        fresh = (Defuser(colour=self._colour), list[str]())
        defuser, rest = self._streams.setdefault((piece.attempt, piece.stream), fresh)
        *whole, last = ("".join(rest) + defuser.feed(piece.text)).split("\n")
        rest[:] = [last]
        for line in whole:
            self._print(piece.stream, line)

    def flush(self) -> None:
        """Print what had no line end."""
        for (_, stream), (defuser, rest) in self._streams.items():
            line = "".join(rest) + defuser.flush()
            if line.strip("\n"):
                self._print(stream, line.rstrip("\n"))
        self._streams.clear()

    def _print(self, stream: str, line: str) -> None:
        self._out(stream, line + RESET if has_open_colour(line) else line)


def to_streams(stream: str, line: str) -> None:
    """Print the job's standard output on ours, all else on standard error."""
    file = sys.stdout if stream == "stdout" else sys.stderr
    write(file, line)


def write(file: TextIO, line: str) -> None:
    safe = line.encode(file.encoding or "utf-8", "replace").decode(file.encoding or "utf-8")
    file.write(safe + "\n")
    file.flush()


async def follow_job(
    client: AsyncClient, job_id: str, *, wanted: frozenset[str], offset: int | None = None
) -> Job:
    """Print the streams in ``wanted`` until the Job ends, and return it as it ended."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        return await _on_terminal(client, job_id, wanted, offset)
    await pump(client, job_id, Lines(to_streams, colour=False), wanted, offset)
    return await client.jobs.wait(job_id)


async def _on_terminal(
    client: AsyncClient, job_id: str, wanted: frozenset[str], offset: int | None
) -> Job:
    from rich.status import Status
    from rich.text import Text

    screen = console()
    status = Status(Text("…"), console=screen)

    def out(stream: str, line: str) -> None:
        style = "dim" if stream == "system" else ""
        screen.print(Text.from_ansi(line, style=style), soft_wrap=True)

    changed = asyncio.Event()
    with status:
        watcher = asyncio.create_task(_show_state(client, job_id, status.update, changed))
        try:
            lines = Lines(out, colour=True)
            await pump(client, job_id, lines, wanted, offset, changed.set)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
    return await client.jobs.wait(job_id)


async def _show_state(
    client: AsyncClient, job_id: str, update: Callable[..., Any], changed: asyncio.Event
) -> None:
    from rich.text import Text

    while True:
        with suppress(TrainshedError):  # the log stream reports what lasts
            job = await client.jobs.get(job_id)
            line = Text.assemble(state(job.state), "  ", progress_line(job))
            if job.wait_reason and job.state == "QUEUED":
                line.append("  " + plain(job.wait_reason.detail))
            update(line)
        with suppress(TimeoutError):  # wait_for of Python 3.11 loses a cancel that meets the event
            async with asyncio.timeout(_LOOK_S):
                await changed.wait()
        changed.clear()


async def pump(
    client: AsyncClient,
    job_id: str,
    lines: Lines,
    wanted: frozenset[str],
    offset: int | None = None,
    on_state: Callable[[], None] = lambda: None,
) -> None:
    """Print the log pieces of the ``wanted`` streams until the Job ends.

    ``on_state`` is called when its state changes.
    """
    stream = client.jobs.follow_logs(job_id, offset=offset)
    async with aclosing(cast(Any, stream)) as feed:
        async for item in feed:
            if not isinstance(item, Log):
                on_state()
            elif item.stream in wanted:
                lines.take(item)
    lines.flush()
