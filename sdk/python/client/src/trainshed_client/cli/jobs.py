"""``trainshed jobs``: look at jobs and steer them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli import jobs_read
from trainshed_client.cli.context import (
    confirm,
    echo_json,
    job_id,
    json_option,
    open_client,
    yes_option,
)
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from trainshed_client.models import Job

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


def _zoned(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    try:
        return value.astimezone() if value else None
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value} is too far away.") from error


@click.group()
def jobs() -> None:
    """Look at jobs and steer them. JOB is an id or the start of one, 8 characters or more."""


@jobs.command("list")
@click.option("--state", "-s", multiple=True, help="QUEUED, RUNNING, …; repeatable.")
@click.option("--name", help="Only jobs of this name.")
@click.option("--pool", help="Only jobs of this pool.")
@click.option("--workload", help="Only jobs of this kind.")
@click.option("--label", metavar="K:V", help="Only jobs with this label.")
@click.option(
    "--after", type=click.DateTime(_TIMES), callback=_zoned, help="Made after this time, local."
)
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_(limit: int, as_json: bool, after: Any, state: tuple[str, ...], **given: Any) -> None:
    """List jobs, newest first."""
    with open_client() as client:
        found = list(
            client.jobs.list(
                state=[one.upper() for one in state] or None,
                created_after=after,
                limit=limit,
                **given,
            )
        )
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    heads = ("job", "name", "state", "why", "made", "took", "command")
    rows = (
        (
            render.ident(job.id),
            job.name,
            render.state(job.state),
            job.reason or (job.wait_reason.detail if job.wait_reason else ""),
            render.when(job.created_at),
            render.lasted(render.between(job.started_at, job.ended_at)),
            plain(" ".join(job.command))[:60],
        )
        for job in found
    )
    render.show(render.table(heads, rows, cut=("name", "why", "command")))


@jobs.command()
@click.argument("job")
@json_option
def show(job: str, as_json: bool) -> None:
    """Show everything about one job."""
    with open_client() as client:
        one = job_id(client, job)
        if as_json:
            echo_json(client.jobs.get(one))
            return
        from trainshed_client.cli import jobpage, render

        render.show(jobpage.page(jobpage.collect(client, one)))


@jobs.command()
@click.argument("job")
@click.option("--every", type=click.FloatRange(0.1), default=1.0, help="Seconds between looks.")
@json_option
@click.pass_context
def watch(ctx: click.Context, /, job: str, every: float, as_json: bool) -> None:
    """Show one job, live, until it ends; exits 0 if it succeeded, 1 if not.

    With --json one line for every change of state.
    """
    with open_client() as client:
        one = job_id(client, job)
        if not as_json and sys.stdout.isatty():
            ctx.exit(_watch_live(client, one, every))
        last = ""
        while True:
            now = client.jobs.get(one)
            if now.state != last:
                last = now.state
                echo_json(now, line=True) if as_json else click.echo(f"{now.id} {plain(last)}")
            if now.ended:
                ctx.exit(_outcome(now))
            time.sleep(every)


def _watch_live(client: Any, one: str, every: float) -> int:
    from rich.live import Live

    from trainshed_client.cli import jobpage, render

    data = jobpage.collect(client, one)
    with Live(jobpage.page(data), console=render.console(), auto_refresh=False) as live:
        while not data.job.ended or data.receipt is None:
            time.sleep(every)
            data = jobpage.collect(client, one)
            live.update(jobpage.page(data), refresh=True)
    return _outcome(data.job)


def _outcome(job: Job) -> int:
    return 0 if job.state == "SUCCEEDED" else 1


def _verb(name: str, said: str, help_text: str) -> None:
    """Add a command that asks something of one job or several."""

    @jobs.command(name, help=help_text)
    @click.argument("job", nargs=-1, required=True)
    @json_option
    def verb(job: tuple[str, ...], as_json: bool) -> None:
        with open_client() as client:
            ids = [job_id(client, one) for one in job]
            done = [getattr(client.jobs, name)(one) for one in ids]
        if as_json:
            echo_json(done if len(done) > 1 else done[0])
            return
        for one in done:
            click.echo(f"{plain(one.id)} {said} ({plain(one.state)})")


_verb("cancel", "will end", "Ask jobs to end.")
_verb("pause", "pauses", "Stop jobs; they keep their last checkpoint and cost nothing.")
_verb("resume", "resumes", "Queue paused jobs again, from their last checkpoint.")
_verb("retry", "is the new job", "Submit the same jobs again, as new jobs.")


@jobs.command()
@click.argument("job", nargs=-1, required=True)
@json_option
@yes_option
def delete(job: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Delete ended jobs with their files."""
    with open_client() as client:
        ids = [job_id(client, one) for one in job]
        confirm(f"Delete {', '.join(ids)} and all files?", yes)
        for one in ids:
            client.jobs.delete(one)
    if as_json:
        echo_json({"deleted": ids})
    else:
        click.echo(f"deleted {', '.join(ids)}")


@jobs.command()
@click.argument("job")
@click.argument("priority", type=int)
@json_option
def priority(job: str, priority: int, as_json: bool) -> None:
    """Change where a job stands in the queue; higher runs sooner."""
    with open_client() as client:
        done = client.jobs.set_priority(job_id(client, job), priority)
    echo_json(done) if as_json else click.echo(f"{done.id} has priority {done.priority}")


@jobs.command()
@click.argument("job")
@json_option
def checkpoint(job: str, as_json: bool) -> None:
    """Ask the running program for a snapshot."""
    with open_client() as client:
        one = job_id(client, job)
        client.jobs.checkpoint(one)
    echo_json({"asked": one}) if as_json else click.echo(f"asked {one} for a checkpoint")


@jobs.command()
@click.argument("job")
@click.argument("path", required=False)
@click.option(
    "--to", "target", type=click.Path(path_type=Path), default=".", help="File or folder."
)
@json_option
def download(job: str, path: str | None, target: Path, as_json: bool) -> None:
    """Save a file the job wrote; without PATH all of them, as a zip (never unpacked)."""
    with open_client() as client:
        saved = client.jobs.download(job_id(client, job), path, target)
    if as_json:
        echo_json({"path": str(saved), "size_bytes": saved.stat().st_size})
    else:
        click.echo(str(saved))


for _command in jobs_read.COMMANDS:
    jobs.add_command(_command)
