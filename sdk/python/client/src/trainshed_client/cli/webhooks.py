"""``trainshed webhooks``: make, list, test, rotate, replay and remove webhooks."""

from __future__ import annotations

from collections.abc import Iterable
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

if TYPE_CHECKING:
    from trainshed_client.models_hooks import Delivery, WebhookInfo
    from trainshed_client.sync import Client

EVENTS = click.option(
    "--event", "events", multiple=True, help="Repeatable; * and job.* work. All if absent."
)


@click.group()
def webhooks() -> None:
    """Send events to your own server, signed. WEBHOOK is a name or an id."""


@webhooks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the account's webhooks; secrets are never shown again."""
    with open_client() as client:
        found = [*client.webhooks.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (render.ident(one.id), one.name, one.url, " ".join(one.events), one.health) for one in found
    )
    heads = ("webhook", "name", "url", "events", "health")
    render.show(render.table(heads, rows, cut=("name", "url", "events")))


@webhooks.command()
@json_option
def events(as_json: bool) -> None:
    """List what can be subscribed to."""
    with open_client() as client:
        found = client.webhooks.event_kinds()
    if as_json:
        echo_json([*found])
        return
    from trainshed_client.cli import render

    render.show(render.table(("event", "means"), ((one.kind, one.means) for one in found)))


@webhooks.command()
@click.argument("name")
@click.argument("url")
@EVENTS
@click.option("--job", "job_id", help="Only events of this job.")
@json_option
def create(name: str, url: str, events: tuple[str, ...], job_id: str | None, as_json: bool) -> None:
    """Make a webhook. Its secret is printed this once, alone on standard output."""
    with open_client() as client:
        made = client.webhooks.create(name, url, events or ("*",), job_id=job_id)
    _tell(made, as_json)


@webhooks.command()
@click.argument("webhook")
@json_option
@yes_option
def rotate(webhook: str, as_json: bool, yes: bool) -> None:
    """Give a webhook a new secret; for 24 hours the old one signs too."""
    confirm(f"The present secret of {webhook} will stop signing in 24 hours. Go on?", yes)
    with open_client() as client:
        made = client.webhooks.rotate(_id(client, webhook))
    _tell(made, as_json)


@webhooks.command()
@click.argument("webhook")
@json_option
def test(webhook: str, as_json: bool) -> None:
    """Send a test event; look at it with deliveries."""
    with open_client() as client:
        made = client.webhooks.test(_id(client, webhook))
    echo_json(made) if as_json else click.echo(f"queued {plain(made.id)}")


@webhooks.command()
@click.argument("webhook")
@click.option("--state", type=click.Choice(["pending", "delivered", "dead"]))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
def deliveries(webhook: str, state: str | None, limit: int, as_json: bool) -> None:
    """List a webhook's deliveries, newest first."""
    with open_client() as client:
        show([*client.webhooks.deliveries(_id(client, webhook), state=state, limit=limit)], as_json)


@webhooks.command()
@click.argument("webhook")
@click.argument("delivery", nargs=-1)
@click.option("--dead", is_flag=True, help="All that are dead.")
@json_option
def replay(webhook: str, delivery: tuple[str, ...], dead: bool, as_json: bool) -> None:
    """Send deliveries again under their own ids."""
    if dead == bool(delivery):
        raise click.UsageError("Name deliveries, or give --dead.")
    with open_client() as client:
        of = _id(client, webhook)
        if dead:
            n = client.webhooks.replay_dead(of).replayed
        else:
            n = len([client.webhooks.replay(of, one) for one in delivery])
    echo_json({"replayed": n}) if as_json else click.echo(f"sent again: {n}")


@webhooks.command()
@click.argument("webhook", nargs=-1, required=True)
@json_option
@yes_option
def delete(webhook: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """Remove webhooks and their deliveries."""
    confirm(f"Remove {', '.join(webhook)}?", yes)
    with open_client() as client:
        gone = [_id(client, one) for one in webhook]
        for one in gone:
            client.webhooks.delete(one)
    echo_json({"deleted": gone}) if as_json else click.echo(f"removed {', '.join(webhook)}")


def show(found: Iterable[Delivery], as_json: bool) -> None:
    """Print deliveries."""
    if as_json:
        echo_json([*found])
        return
    from trainshed_client.cli import render

    rows = (
        (
            one.id,
            one.kind,
            one.state,
            str(one.tries),
            "" if one.status is None else str(one.status),
            render.when(one.next_at),
            one.detail,
        )
        for one in found
    )
    heads = ("delivery", "event", "state", "tries", "status", "next", "detail")
    render.show(render.table(heads, rows))


def _tell(made: WebhookInfo, as_json: bool) -> None:
    if as_json:
        echo_json(made)
        return
    click.echo(f"{plain(made.id)} {plain(made.name)}: shown this once, keep it safe", err=True)
    click.echo(plain(made.secret or ""))


def _id(client: Client, text: str) -> str:
    return named("webhook", text, client.webhooks.list)
