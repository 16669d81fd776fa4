"""``trainshed keys``: make, list, rotate and revoke API keys."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli.context import (
    confirm,
    echo_json,
    full_id,
    json_option,
    open_client,
    yes_option,
)
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from trainshed_client.models import Key
    from trainshed_client.sync import Client


class Credits(click.ParamType[int]):
    """An amount in credits, as exact micro-credits."""

    name = "CREDITS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        try:
            amount = Decimal(str(value)) * 10**6
        except ArithmeticError:
            self.fail(f"{value!r} is no amount", param, ctx)
        if not amount.is_finite() or amount != amount.to_integral_value():
            self.fail(f"{value!r} has more than six decimals", param, ctx)
        return int(amount)


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys. KEY is an id or its start, 8 characters or more."""


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the account's keys; secrets are never shown again."""
    with open_client() as client:
        found = [*client.keys.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            render.ident(key.id),
            key.name,
            key.prefix,
            " ".join(key.scopes),
            render.when(key.expires_at) if key.expires_at else "never",
            render.credits(key.spend_limit_ucredits),
            render.when(key.last_used_at),
        )
        for key in found
    )
    heads = ("key", "name", "prefix", "scopes", "expires", "limit", "last used")
    render.show(render.table(heads, rows))


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="Repeatable; read and write if absent.")
@click.option("--expires-in-days", type=click.IntRange(1))
@click.option("--spend-limit", type=Credits(), help="Credits this key may spend in all.")
@click.option("--prefix", help="Kind of secret, such as ts_.")
@json_option
def create(
    name: str,
    scopes: tuple[str, ...],
    expires_in_days: int | None,
    spend_limit: int | None,
    prefix: str | None,
    as_json: bool,
) -> None:
    """Make a key. Its secret is printed this once, alone on standard output."""
    with open_client() as client:
        made = client.keys.create(
            name,
            scopes=scopes or None,
            expires_in_days=expires_in_days,
            spend_limit_ucredits=spend_limit,
            prefix=prefix,
        )
    _tell(made, as_json)


@keys.command()
@click.argument("key")
@json_option
@yes_option
def rotate(key: str, as_json: bool, yes: bool) -> None:
    """Give a key a new secret; the old one stops working at once."""
    with open_client() as client:
        one = _key_id(client, key)
        confirm(f"The present secret of {one} will stop working. Go on?", yes)
        made = client.keys.rotate(one)
    _tell(made, as_json)


@keys.command()
@click.argument("key", nargs=-1, required=True)
@json_option
@yes_option
def revoke(key: tuple[str, ...], as_json: bool, yes: bool) -> None:
    """End keys at once."""
    with open_client() as client:
        ids = [_key_id(client, one) for one in key]
        confirm(f"Revoke {', '.join(ids)}?", yes)
        for one in ids:
            client.keys.revoke(one)
    echo_json({"revoked": ids}) if as_json else click.echo(f"revoked {', '.join(ids)}")


def _key_id(client: Client, text: str) -> str:
    return full_id("key", text, lambda: (key.id for key in client.keys.list()))


def _tell(made: Key, as_json: bool) -> None:
    if as_json:
        echo_json(made)
        return
    click.echo(f"{plain(made.id)} {plain(made.name)}: shown this once, keep it safe", err=True)
    click.echo(plain(made.secret or ""))
