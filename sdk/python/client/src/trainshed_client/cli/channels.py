"""``trainshed channels``: Slack and e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainshed_client.cli.context import (
    confirm,
    echo_json,
    json_option,
    named,
    open_client,
    yes_option,
)
from trainshed_client.cli.safe_text import plain
from trainshed_client.cli.webhooks import EVENTS, show

if TYPE_CHECKING:
    from trainshed_client.sync import Client


@click.group()
def channels() -> None:
    """Send events to people by Slack or e-mail. CHANNEL is a name or an id."""


@channels.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the account's channels."""
    with open_client() as client:
        found = [*client.channels.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (render.ident(one.id), one.channel, one.name, one.target, " ".join(one.events), one.health)
        for one in found
    )
    render.show(render.table(("channel", "kind", "name", "to", "events", "health"), rows))


@channels.command()
@click.argument("kind", type=click.Choice(["slack", "email"]))
@click.argument("name")
@click.argument("target", nargs=-1, required=True)
@EVENTS
@click.option("--job", "job_id", help="Only events of this job.")
@json_option
def create(
    kind: str,
    name: str,
    target: tuple[str, ...],
    events: tuple[str, ...],
    job_id: str | None,
    as_json: bool,
) -> None:
    """Make a channel. TARGET is Slack's webhook URL, or e-mail addresses."""
    if kind == "slack" and len(target) > 1:
        raise click.UsageError("Slack takes one URL.")
    with open_client() as client:
        made = client.channels.create(
            kind,
            name,
            events or ("job.*",),
            url=target[0] if kind == "slack" else None,
            to=target if kind == "email" else None,
            job_id=job_id,
        )
    echo_json(made) if as_json else click.echo(plain(made.id))


@channels.command()
@click.argument("channel")
@json_option
def test(channel: str, as_json: bool) -> None:
    """Send a test message; look at it with deliveries."""
    with open_client() as client:
        made = client.channels.test(_id(client, channel))
    echo_json(made) if as_json else click.echo(f"queued {plain(made.id)}")


@channels.command()
@click.argument("channel")
@click.option("--state", type=click.Choice(["pending", "delivered", "dead"]))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def deliveries(channel: str, state: str | None, limit: int, as_json: bool) -> None:
    """List a channel's deliveries, newest first."""
    with open_client() as client:
        show([*client.channels.deliveries(_id(client, channel), state=state, limit=limit)], as_json)


@channels.command()
@click.argument("channel", nargs=-1, required=True)
@json_option
@yes_option
def delete(channel: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Remove channels and their deliveries."""
    confirm(f"Remove {', '.join(channel)}?", yes)
    with open_client() as client:
        gone = [_id(client, one) for one in channel]
        for one in gone:
            client.channels.delete(one)
    echo_json({"deleted": gone}) if as_json else click.echo(f"removed {', '.join(channel)}")


def _id(client: Client, text: str) -> str:
    return named("channel", text, client.channels.list)
