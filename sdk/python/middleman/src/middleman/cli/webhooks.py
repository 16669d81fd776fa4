"""``middleman webhooks``: where events are sent."""

from __future__ import annotations

import click

from middleman.cli.context import echo_page, open_client
from trainshed_client.cli.context import confirm, echo_json, json_option, yes_option
from trainshed_client.cli.safe_text import plain


@click.group()
def webhooks() -> None:
    """Say where events are sent."""


@webhooks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the webhooks."""
    with open_client() as client:
        found = client.list_webhooks()
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (w["id"], w["name"], w["url"], " ".join(w["events"]), "yes" if w["is_active"] else "no")
        for w in found
    )
    render.show(render.table(("ID", "Name", "URL", "Events", "Active"), rows))


@webhooks.command()
@click.argument("name")
@click.argument("url")
@click.option("--event", "-e", "events", multiple=True, help="Repeatable; all if absent.")
@json_option
def create(name: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Send events to URL. The secret that signs them is printed this once, alone on stdout."""
    with open_client() as client:
        made = client.create_webhook(name, url, events or ("*",))
    if as_json:
        echo_json(made)
        return
    click.echo(f"webhook {plain(made['id'])}: the secret is shown this once", err=True)
    click.echo(plain(made.get("secret", "")))


@webhooks.command()
@click.argument("webhook_id")
@json_option
@yes_option
def delete(webhook_id: str, as_json: bool, yes: bool) -> None:
    """Delete a webhook."""
    confirm(f"Delete {plain(webhook_id)}?", yes)
    with open_client() as client:
        client.delete_webhook(webhook_id)
    echo_json({"deleted": webhook_id}) if as_json else click.echo(f"deleted {plain(webhook_id)}")


@webhooks.command()
@click.argument("webhook_id")
@json_option
def test(webhook_id: str, as_json: bool) -> None:
    """Send an event for practice and show the delivery."""
    with open_client() as client:
        found = client.test_webhook(webhook_id)
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    render.show(render.table(("delivery", ""), sorted(found.items())))


@webhooks.command()
@click.argument("webhook_id")
@click.option("--limit", "-l", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the newest so many.")
@json_option
def deliveries(webhook_id: str, limit: int, offset: int, as_json: bool) -> None:
    """List what was sent to a webhook, newest first."""
    with open_client() as client:
        found, total = client.get_webhook_deliveries(webhook_id, limit, offset)
    if as_json:
        echo_page(found, total)
        return
    from trainshed_client.cli import render

    heads = [key for key, shown in (found or [{}])[0].items() if not isinstance(shown, dict | list)]
    render.show(
        render.table(heads or ["no deliveries"], [[d.get(h) for h in heads] for d in found])
    )
    if total > offset + len(found):
        click.echo(f"{len(found)} of {total:,}; --limit and --offset show others", err=True)


@webhooks.command()
@click.argument("webhook_id")
@click.argument("delivery_id", required=False)
@json_option
def replay(webhook_id: str, delivery_id: str | None, as_json: bool) -> None:
    """Send a delivery again, or without DELIVERY_ID all that were given up."""
    with open_client() as client:
        if delivery_id is None:
            n = client.replay_webhook(webhook_id)
        else:
            client.replay_webhook_delivery(webhook_id, delivery_id)
            n = 1
    echo_json({"replayed": n}) if as_json else click.echo(f"{n:,} sent again")


@webhooks.command("regenerate-secret")
@click.argument("webhook_id")
@json_option
@yes_option
def regenerate_secret(webhook_id: str, as_json: bool, yes: bool) -> None:
    """Give a webhook a new secret. It is printed this once, alone on stdout."""
    confirm(f"Give {plain(webhook_id)} a new secret?", yes)
    with open_client() as client:
        secret = client.regenerate_webhook_secret(webhook_id)
    echo_json({"secret": secret}) if as_json else click.echo(plain(secret))


@webhooks.command()
@json_option
def events(as_json: bool) -> None:
    """List the events there are."""
    with open_client() as client:
        found = client.get_webhook_events()
    if as_json:
        echo_json(found)
        return
    for one in found:
        name = one.get("name") or one.get("event") if isinstance(one, dict) else one
        click.echo(plain(name))
