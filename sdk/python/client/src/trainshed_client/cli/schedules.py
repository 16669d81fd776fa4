"""``trainshed schedules``: jobs that come again at set times."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli.context import (
    async_client,
    confirm,
    echo_json,
    json_option,
    open_client,
    yes_option,
)
from trainshed_client.cli.run import inputs, resource_options, spec, upload_options
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from datetime import datetime

    from trainshed_client.api.schedules import Schedule
    from trainshed_client.sync import Client


@click.group()
def schedules() -> None:
    """Run jobs at set times. SCHEDULE is an id, the start of one, or its name."""


@schedules.command("list")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List schedules, newest first."""
    with open_client() as client:
        found = list(client.schedules.list(limit=limit))
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            render.ident(one.id),
            one.name,
            one.cron,
            one.zone,
            "paused" if one.paused_at else render.when(one.next_due),
            one.phase,
            one.last_error or render.ident(one.last_job_id or ""),
        )
        for one in found
    )
    heads = ("schedule", "name", "cron", "zone", "next", "last", "job or error")
    render.show(render.table(heads, rows))


@schedules.command()
@click.argument("name")
@click.argument("command", nargs=-1, required=True)
@click.option("--cron", required=True, help="'minute hour day month weekday', e.g. '0 2 * * *'.")
@click.option("--zone", help="Time zone; UTC unless given.")
@click.option("--catch-up", type=click.Choice(["one", "skip", "all"]), help="Of missed fires.")
@click.option("--overlap", type=click.Choice(["skip", "queue", "allow"]))
@resource_options
@upload_options
@json_option
@yes_option
def create(**given: Any) -> None:
    """Make schedule NAME that runs COMMAND each time, with this folder as it is now.

    Put -- before COMMAND.
    """
    _tell(asyncio.run(_create(given)), given["as_json"])


async def _create(given: dict[str, Any]) -> Schedule:
    cron, zone = given["cron"], given["zone"]
    async with async_client() as client:
        await client.schedules.preview(cron, zone=zone)  # refused before anything is sent
        sent = await inputs(client, given)
        job = {k: v for k, v in spec(given).items() if v is not None}
        job |= {"command": [*given["command"]], "inputs": [*sent]}
        policies = {"catch_up": given["catch_up"], "overlap": given["overlap"]}
        return await client.schedules.create(given["name"], cron, job, zone=zone, **policies)


@schedules.command()
@click.argument("schedule")
@json_option
def show(schedule: str, as_json: bool) -> None:
    """Show one schedule, its next times and what came of its last ones."""
    with open_client() as client:
        one = _find(client, schedule)
        times = client.schedules.next(one.id)
        fires = list(client.schedules.fires(one.id, limit=10))
    if as_json:
        echo_json({**one.raw, "next": [t.isoformat() for t in times], "fires": fires_raw(fires)})
        return
    from trainshed_client.cli import render

    _tell(one, False)
    click.echo(f"runs     {plain(' '.join(one.job.get('command', [])))}")
    for due in times:
        click.echo(f"next     {in_zone(due, one.zone)}")
    rows = (
        (in_zone(f.due_at, one.zone), f.kind, f.state, f.job_id or f.message, f"{f.late_s:.1f} s")
        for f in fires
    )
    render.show(render.table(("due", "kind", "came", "job or reason", "late"), rows))


@schedules.command()
@click.argument("schedule")
@json_option
def run(schedule: str, as_json: bool) -> None:
    """Make a job of a schedule at once; its times stay as they are."""
    with open_client() as client:
        _tell(client.schedules.run_now(_find(client, schedule).id), as_json)


@schedules.command()
@click.argument("schedule")
@json_option
def pause(schedule: str, as_json: bool) -> None:
    """Let a schedule not fire until it is resumed."""
    with open_client() as client:
        _tell(client.schedules.update(_find(client, schedule).id, paused=True), as_json)


@schedules.command()
@click.argument("schedule")
@json_option
def resume(schedule: str, as_json: bool) -> None:
    """Let a paused schedule fire again, from its next time on."""
    with open_client() as client:
        _tell(client.schedules.update(_find(client, schedule).id, paused=False), as_json)


@schedules.command()
@click.argument("schedule", nargs=-1, required=True)
@json_option
@yes_option
def delete(schedule: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Remove schedules; their jobs stay."""
    confirm(f"Delete {', '.join(schedule)}?", yes)
    with open_client() as client:
        gone = [_find(client, one).id for one in schedule]
        for one in gone:
            client.schedules.delete(one)
    echo_json({"deleted": gone}) if as_json else click.echo(f"deleted {', '.join(gone)}")


@schedules.command()
@click.argument("cron")
@click.option("--zone", help="Time zone; UTC unless given.")
@json_option
def preview(cron: str, zone: str | None, as_json: bool) -> None:
    """Say when a cron expression fires next, ten times; makes nothing."""
    with open_client() as client:
        found = client.schedules.preview(cron, zone=zone)
    if as_json:
        echo_json({"items": [due.isoformat() for due in found]})
        return
    for due in found:
        click.echo(in_zone(due, zone or "UTC"))


def in_zone(due: datetime | None, zone: str) -> str:
    """Return a time as the clocks of a schedule's zone show it; UTC if it is not known here."""
    from zoneinfo import ZoneInfo

    if due is None:
        return "never"
    with contextlib.suppress(LookupError, ValueError, OSError):
        due = due.astimezone(ZoneInfo(zone))
    return due.isoformat(sep=" ")


def fires_raw(found: Any) -> list[dict[str, Any]]:
    """Return fires as the server sent them."""
    return [fire.raw for fire in found]


def _find(client: Client, text: str) -> Schedule:
    """Return the one Schedule that ``text`` names.

    Raises:
        click.UsageError: several could be meant. NotFound: none is.
    """
    if text.startswith("sch_") and len(text) == 36:
        return client.schedules.get(text)
    every = list(client.schedules.list())
    found = [one for one in every if one.name == text]
    if not found and len(text) >= 8:
        found = [one for one in every if one.id.startswith((text, f"sch_{text}"))]
    if len(found) > 1:
        raise click.UsageError(f"{text!r} could be {found[0].id} or {found[1].id}.")
    if not found:
        from trainshed_client.errors import NotFound

        raise NotFound(f"There is no schedule {text!r}.", status=404)
    return found[0]


def _tell(one: Schedule, as_json: bool) -> None:
    if as_json:
        echo_json(one)
        return
    due = "paused" if one.paused_at else in_zone(one.next_due, one.zone)
    click.echo(f"schedule {plain(one.id)} {plain(one.name)}")
    click.echo(f"cron     {plain(one.cron)} ({plain(one.zone)}), next {due}")
    last = one.last_error or (f"{one.last_job_id} {one.last_job_state}" if one.last_job_id else "")
    click.echo(f"last     {plain(one.phase)} {plain(last)}".rstrip())
