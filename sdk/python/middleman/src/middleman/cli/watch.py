"""``middleman jobs watch`` and ``logs``: what a job does, live."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from middleman.cli.context import PATIENT, open_client
from middleman.cli.failures import JOB_FAILED
from trainshed_client.cli.context import echo_json, json_option
from trainshed_client.cli.safe_text import RESET, defuse, has_open_colour, plain

if TYPE_CHECKING:
    from middleman.client import MiddlemanClient
    from middleman.models import Job, JobDetail, LogEntry

_LEVELS = {"ERROR": "red", "WARNING": "yellow", "DEBUG": "bright_black"}


@click.command()
@click.argument("job_id")
@click.option(
    "--interval", "-i", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds."
)
@json_option
@click.pass_context
def watch(ctx: click.Context, job_id: str, interval: float, as_json: bool) -> None:
    """Show a job's progress and loss until it ends; 3 is returned unless it completes.

    Ctrl-C stops the watching, not the job.
    """
    with open_client(retries=PATIENT) as client:
        ctx.exit(show_until_end(client, job_id, interval, as_json))


def show_until_end(client: MiddlemanClient, job_id: str, interval: float, as_json: bool) -> int:
    """Show the job until it ends and return the exit code that its end is."""
    last: JobDetail | None = None
    with _json_lines() if as_json else _screen() as show:
        for last in client.stream_job_status(job_id, interval):
            show(last)
    assert last is not None
    if not as_json:
        _tell_end(last)
    return end_code(last)


def end_code(job: Job) -> int:
    """Return 0 for a job that completed, else the code for one that did not."""
    return 0 if job.status == "completed" else JOB_FAILED


@contextmanager
def _json_lines() -> Iterator[Callable[[JobDetail], None]]:
    yield lambda job: echo_json(job, line=True)


@contextmanager
def _screen() -> Iterator[Callable[[JobDetail], None]]:
    """Give what shows a job: a bar on a terminal, elsewhere a line for every change."""
    from middleman.cli import pages
    from trainshed_client.cli.render import console

    screen = console()
    if not screen.is_terminal:
        before = ""

        def print_line(job: JobDetail) -> None:
            nonlocal before
            text = pages.line(job)
            if text.plain != before:
                screen.print(text)
                sys.stdout.flush()
            before = text.plain

        yield print_line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (
        TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(),
        TextColumn("{task.fields[epochs]}  {task.fields[loss]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("", total=None, status="", epochs="", loss="")

        def update(job: JobDetail) -> None:
            progress.update(
                task,
                total=job.total_epochs,
                completed=job.current_epoch,
                status=plain(job.status),
                epochs=pages.epochs(job),
                loss=pages.loss(job),
            )

        yield update


def _tell_end(job: JobDetail) -> None:
    used = f"credits used: {job.actual_cost:,}"
    click.echo(f"Job {plain(job.id[:8])} {plain(job.status)}; {used}", err=True)
    if job.error_message:
        click.echo(plain(job.error_message), err=True)


@click.command()
@click.argument("job_id")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends.")
@click.option("--tail", "-n", type=click.IntRange(1), help="Only the last lines.")
@click.option("--since", help="Only lines of this time (ISO 8601) and later.")
@json_option
@click.pass_context
def logs(
    ctx: click.Context,
    job_id: str,
    follow: bool,
    tail: int | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Print a job's log. With --follow, 3 is returned unless the job completes."""
    if follow and tail:
        raise click.UsageError("--follow starts at the beginning, or at --since: no --tail.")
    with open_client(retries=PATIENT if follow else 4) as client:
        if not follow:
            if as_json:
                echo_json(client.get_job_logs(job_id, since, tail))
            elif tail:
                _print(client.get_job_logs(job_id, since, tail))
            else:
                _print(client.iter_job_logs(job_id, since))
            return
        entries = client.follow_logs(job_id, since=since)
        if as_json:
            for entry in entries:
                echo_json(entry, line=True)
        else:
            _print(entries)
        ctx.exit(end_code(client.get_job(job_id)))


def _print(entries: Iterator[LogEntry] | list[LogEntry]) -> None:
    """Print log lines: no markup is read, and no escape sequence but colours passes."""
    colour = sys.stdout.isatty()
    for entry in entries:
        level = plain(entry["level"])
        head = f"{plain(entry['timestamp'])[:19]} {level:<7} "
        text = defuse(entry["message"], colour=colour).rstrip("\n")
        if colour:
            head = click.style(head, fg=_LEVELS.get(level.upper()), dim=level.upper() == "INFO")
            text += RESET if has_open_colour(text) else ""
        click.echo(head + text)
        sys.stdout.flush()
