"""``middleman billing``: credits, what they cost, what they went for."""

from __future__ import annotations

import click

from middleman.cli.context import echo_page, open_client
from trainshed_client.cli.context import echo_json, json_option


@click.group()
def billing() -> None:
    """Show credits and what they went for."""


@billing.command()
@json_option
def balance(as_json: bool) -> None:
    """Show the account's credits."""
    with open_client() as client:
        found = client.get_balance()
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = [
        ("balance", f"{found.balance:,}"),
        ("reserved", f"{found.reserved:,}"),
        ("available", f"{found.available:,}"),
    ]
    if found.expires_at:
        rows.append(("expires", render.when(found.expires_at)))
    render.show(render.table(("credits", ""), rows))


@billing.command()
@json_option
def packages(as_json: bool) -> None:
    """Show what credits cost."""
    with open_client() as client:
        found = client.get_packages()
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            p.id,
            p.name,
            f"{p.credits:,}",
            f"${p.price_dollars:,.2f}",
            _each(p.price_cents, p.credits),
        )
        for p in found
    )
    render.show(render.table(("ID", "Name", "Credits", "Price", "Each"), rows))


def _each(cents: int, credits: int) -> str | None:
    return f"{cents / credits:.2f} ¢" if credits else None


@billing.command()
@click.option("--limit", "-l", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the newest so many.")
@json_option
def history(limit: int, offset: int, as_json: bool) -> None:
    """List the credits' movements, newest first."""
    with open_client() as client:
        found, total = client.get_transactions(limit, offset)
    if as_json:
        echo_page(found, total)
        return
    from trainshed_client.cli import render

    rows = ((t["created_at"][:10], t["type"], f"{t['amount']:+,}", t["description"]) for t in found)
    render.show(render.table(("Date", "Type", "Amount", "Description"), rows))
    if total > offset + len(found):
        click.echo(f"{len(found)} of {total:,}; --limit and --offset show others", err=True)
