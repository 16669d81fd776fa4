"""``middleman keys``: list, make and revoke API keys."""

from __future__ import annotations

import click

from middleman.cli.context import open_client
from trainshed_client.cli.context import confirm, echo_json, json_option, yes_option
from trainshed_client.cli.safe_text import plain


@click.group()
def keys() -> None:
    """Make and revoke API keys."""


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the account's keys; the keys themselves are never shown again."""
    with open_client() as client:
        found = client.list_api_keys()
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            key.id[:8],
            key.name,
            f"{key.key_prefix}...",
            " ".join(key.scopes),
            render.when(key.created_at),
            render.when(key.last_used_at),
            render.when(key.expires_at) if key.expires_at else "never",
        )
        for key in found
    )
    heads = ("ID", "Name", "Prefix", "Scopes", "Created", "Last used", "Expires")
    render.show(render.table(heads, rows))


@keys.command()
@click.argument("name")
@click.option("--expires", "-e", type=click.IntRange(1), help="Days until it ends.")
@click.option("--scope", "scopes", multiple=True, help="Repeatable; read and write if absent.")
@json_option
def create(name: str, expires: int | None, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a key. It is printed this once, alone on standard output."""
    with open_client() as client:
        made, secret = client.create_api_key(name, scopes or None, expires)
    if as_json:
        echo_json({**made.raw, "key": secret})
        return
    click.echo(f"{plain(made.name)} ({plain(made.id)}): shown this once, keep it safe", err=True)
    click.echo(plain(secret))


@keys.command()
@click.argument("key_id")
@json_option
@yes_option
def revoke(key_id: str, as_json: bool, yes: bool) -> None:
    """End a key at once; its id or its prefix names it."""
    confirm(f"Revoke {plain(key_id)}?", yes)
    with open_client() as client:
        done = client.revoke_api_key(key_id)
    echo_json({"revoked": done}) if as_json else click.echo(f"revoked {plain(key_id)}")
