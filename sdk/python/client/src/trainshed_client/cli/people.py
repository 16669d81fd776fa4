"""``offers``, ``credits``, ``users``, ``accounts``: what is for hire, who pays, who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli.context import ask_password, echo_json, full_id, json_option, open_client
from trainshed_client.cli.keys import Credits
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from trainshed_client.sync import Client


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def offers(context: click.Context, as_json: bool) -> None:
    """Show what is for hire, and what of it is free."""
    if context.invoked_subcommand is not None:
        return
    with open_client() as client:
        found = client.offers.list()
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            f"{o.id} (drained)" if o.drained_at else o.id,
            o.pool,
            o.gpu_type,
            f"{o.free.get('gpus', '?')}/{o.gpus}",
            f"{o.free.get('cpus', '?')}/{o.cpus:g}",
            f"{render.size(o.free.get('memory_bytes'))} of {render.size(o.memory_bytes)}",
            render.credits(o.price_ucredits),
        )
        for o in found.items
    )
    heads = ("offer", "pool", "gpu", "gpus free", "cpus free", "memory free", "credits per hour")
    render.show(render.table(heads, rows))
    pools = [p for p in found.pools if isinstance(p, dict) and p.get("gpu_type")]
    if pools:
        priced = ", ".join(
            f"{p['gpu_type']} {render.credits(p.get('price_ucredits'))}" for p in pools
        )
        render.show(f"GPU types that a job may ask for, credits per GPU-hour: {priced}")


@offers.command()
@click.argument("offer")
@json_option
def drain(offer: str, as_json: bool) -> None:
    """Let OFFER take nothing new; its jobs save and queue again (operators)."""
    with open_client() as client:
        changed = client.offers.drain(offer)
    echo_json(changed) if as_json else click.echo(f"{plain(changed.id)} is drained.")


@offers.command()
@click.argument("offer")
@json_option
def undrain(offer: str, as_json: bool) -> None:
    """Let OFFER take jobs again (operators)."""
    with open_client() as client:
        changed = client.offers.undrain(offer)
    echo_json(changed) if as_json else click.echo(f"{plain(changed.id)} takes jobs again.")


@click.command("credits")
@click.option("--entries", "-e", is_flag=True, help="Show where credits came from and went.")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True)
@json_option
def credits_(entries: bool, limit: int, as_json: bool) -> None:
    """Show the account's credits; with --entries its ledger."""
    with open_client() as client:
        balances = client.credits.balances()
        lines = [*client.credits.entries(limit=limit)] if entries else []
    if as_json:
        shown = {"balances": [b.raw for b in balances]}
        echo_json({**shown, "entries": [e.raw for e in lines]} if entries else shown)
        return
    from trainshed_client.cli import render

    amount = render.credits
    rows = (
        (b.unit, amount(b.available_ucredits), amount(b.held_ucredits), amount(b.balance_ucredits))
        for b in balances
    )
    render.show(render.table(("unit", "available", "held", "balance"), rows))
    if entries:
        ledger = (
            (
                e.seq,
                render.when(e.created_at),
                e.kind,
                e.unit,
                amount(e.amount_ucredits),
                amount(e.balance_after_ucredits),
                e.job_id,
                e.memo,
            )
            for e in lines
        )
        heads = ("entry", "at", "kind", "unit", "amount", "balance after", "job", "memo")
        render.show(render.table(heads, ledger))


@click.group()
def users() -> None:
    """Manage users; needs an admin's right. USER is an id or its start, 8 characters or more."""


@users.command("list")
@json_option
def list_users(as_json: bool) -> None:
    """List users."""
    with open_client() as client:
        found = [*client.users.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (u.id, u.username, u.role, "yes" if u.operator else "", render.when(u.disabled_at))
        for u in found
    )
    render.show(render.table(("user", "name", "role", "operator", "disabled"), rows))


@users.command("create")
@click.argument("username")
@click.option("--role", default="member", show_default=True)
@click.option("--account", "account_id", help="Account id (operators).")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def create_user(
    username: str, role: str, account_id: str | None, password_stdin: bool, as_json: bool
) -> None:
    """Make a user."""
    password = ask_password(password_stdin, twice=True)
    with open_client() as client:
        home = _account_id(client, account_id) if account_id else None
        made = client.users.create(username, password, role=role, account_id=home)
    echo_json(made) if as_json else click.echo(f"{plain(made.id)} {plain(made.username)}")
    for note in made.raw.get("notes") or ():
        click.echo(f"note: {plain(str(note))}", err=True)


@users.command("update")
@click.argument("user")
@click.option("--role")
@click.option("--disable/--enable", "disabled", default=None)
@click.option("--operator/--no-operator", default=None)
@json_option
def update_user(user: str, as_json: bool, **given: Any) -> None:
    """Change a user's role, or whether it may log in."""
    with open_client() as client:
        made = client.users.update(_user_id(client, user), **given)
    echo_json(made) if as_json else click.echo(f"{plain(made.id)} {plain(made.role)}")


@users.command("set-password")
@click.argument("user")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def set_password(user: str, password_stdin: bool, as_json: bool) -> None:
    """Give a user a new password; its sessions end."""
    password = ask_password(password_stdin, twice=True)
    with open_client() as client:
        one = _user_id(client, user)
        client.users.set_password(one, password)
    echo_json({"user": one}) if as_json else click.echo("done")


def _user_id(client: Client, text: str) -> str:
    return full_id("user", text, lambda: (user.id for user in client.users.list()))


def _account_id(client: Client, text: str) -> str:
    return full_id("account", text, lambda: (one.id for one in client.accounts.list()))


@click.group()
def accounts() -> None:
    """Manage accounts; needs an operator. ACCOUNT is an id or its start, 8 characters or more."""


@accounts.command("list")
@json_option
def list_accounts(as_json: bool) -> None:
    """List accounts."""
    with open_client() as client:
        found = [*client.accounts.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            a.id,
            a.name,
            a.weight,
            render.size(a.used_bytes),
            render.size(a.quota_bytes),
            render.when(a.disabled_at),
        )
        for a in found
    )
    render.show(render.table(("account", "name", "weight", "used", "quota", "disabled"), rows))


@accounts.command("create")
@click.argument("name")
@click.option("--quota-bytes", type=click.IntRange(0))
@click.option("--weight", type=float, help="Its fair share next to others'.")
@json_option
def create_account(name: str, as_json: bool, **given: Any) -> None:
    """Make an account."""
    with open_client() as client:
        made = client.accounts.create(name, **given)
    echo_json(made) if as_json else click.echo(f"{plain(made.id)} {plain(made.name)}")


@accounts.command("update")
@click.argument("account")
@click.option("--name")
@click.option("--quota-bytes", type=click.IntRange(0))
@click.option("--weight", type=float)
@click.option("--plan", help="Its board plan; the runs are there at once.")
@click.option("--disable/--enable", "disabled", default=None)
@json_option
def update_account(account: str, as_json: bool, **given: Any) -> None:
    """Change an account; ACCOUNT is an id or its start."""
    with open_client() as client:
        made = client.accounts.update(_account_id(client, account), **given)
    echo_json(made) if as_json else click.echo(f"{plain(made.id)} {plain(made.name)}")


@accounts.command("grant")
@click.argument("account")
@click.argument("amount", type=Credits())
@click.option(
    "--unit", type=click.Choice(["credit", "board_run"]), default="credit", show_default=True
)
@click.option("--memo", help="Why; stands in the ledger.")
@json_option
def grant(account: str, amount: int, unit: str, memo: str | None, as_json: bool) -> None:
    """Add credits, or runs on boards, to an account.

    ACCOUNT is an id or its start, as `trainshed accounts list` shows it.
    """
    from trainshed_client.cli import render

    with open_client() as client:
        now = client.accounts.grant(_account_id(client, account), amount, unit=unit, memo=memo)
    if as_json:
        echo_json(now)
    else:
        click.echo(f"{render.credits(now.available_ucredits)} {plain(now.unit)} available")
