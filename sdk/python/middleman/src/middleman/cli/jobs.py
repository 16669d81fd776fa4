"""``middleman jobs``: list, look, steer. Making and watching are in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from middleman.cli.context import echo_page, open_client
from middleman.cli.create import create
from middleman.cli.watch import logs, watch
from trainshed_client.cli.context import confirm, echo_json, json_option, yes_option
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from middleman.models import Job, JobDetail


@click.group()
def jobs() -> None:
    """Make training jobs, watch and steer them. The first 8 characters of an id are enough."""


@jobs.command("list")
@click.option("--status", "-s", help="Only jobs with this status, such as running.")
@click.option("--limit", "-l", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the newest so many.")
@json_option
def list_(status: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List jobs, newest first."""
    with open_client() as client:
        found, total = client.list_jobs(status, limit, offset)
    if as_json:
        echo_page(found, total)
        return
    from middleman.cli import pages
    from trainshed_client.cli import render

    render.show(pages.jobs(found))
    if total > offset + len(found):
        click.echo(f"{len(found)} of {total:,} jobs; --limit and --offset show others", err=True)


@jobs.command()
@click.argument("job_id")
@json_option
def status(job_id: str, as_json: bool) -> None:
    """Show all about a job."""
    with open_client() as client:
        job = client.get_job(job_id)
    _tell(job, as_json)


@jobs.command()
@click.argument("job_id")
@json_option
@yes_option
def cancel(job_id: str, as_json: bool, yes: bool) -> None:
    """End a job; what it has not used is given back."""
    confirm(f"Cancel job {plain(job_id)}?", yes)
    with open_client() as client:
        done = client.cancel_job(job_id)
    if as_json:
        echo_json(done)
        return
    refunded = done.get("refunded_credits")
    given = f"; {refunded:,} credits given back" if isinstance(refunded, int) else ""
    click.echo(f"{plain(done.get('status', 'cancelled'))}{given}")


@jobs.command()
@click.argument("job_id")
@json_option
def pause(job_id: str, as_json: bool) -> None:
    """Stop a running job so that it can go on later."""
    with open_client() as client:
        job = client.pause_job(job_id)
    _changed(job, as_json)


@jobs.command()
@click.argument("job_id")
@json_option
def resume(job_id: str, as_json: bool) -> None:
    """Let a paused job go on from its last checkpoint."""
    with open_client() as client:
        job = client.resume_job(job_id)
    _changed(job, as_json)


def _tell(job: JobDetail, as_json: bool) -> None:
    if as_json:
        echo_json(job)
        return
    from middleman.cli import pages
    from trainshed_client.cli import render

    render.show(pages.job(job))


def _changed(job: Job, as_json: bool) -> None:
    if as_json:
        echo_json(job)
    else:
        click.echo(f"{plain(job.id)}  {plain(job.status)}")


for _command in (create, watch, logs):
    jobs.add_command(_command)
