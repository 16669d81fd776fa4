"""``auth``, ``whoami``, ``version``, ``completion``."""

from __future__ import annotations

import sys

import click

from middleman.cli.context import api_url, open_client
from trainshed_client.cli.auth import warn_if_open
from trainshed_client.cli.context import echo_json, json_option
from trainshed_client.cli.lazy import completion_script
from trainshed_client.cli.safe_text import plain


@click.command()
@click.argument("api_key", required=False)
@json_option
def auth(api_key: str | None, as_json: bool) -> None:
    """Check API_KEY and store it in ~/.middleman/config (mode 0600).

    Without API_KEY it is asked for, or read from standard input where nobody is there to ask.
    """
    from middleman.settings import store_key

    warn_if_open(api_url())
    if api_key is None and sys.stdin.isatty():
        api_key = click.prompt("API key", hide_input=True, err=True)
    key = (api_key if api_key is not None else sys.stdin.readline()).strip()
    if not key:
        raise click.UsageError("No API key was given.")
    with open_client(key) as client:
        balance = client.get_balance()
    path = store_key(key)
    if as_json:
        echo_json({"path": str(path), "api_url": api_url(), "available": balance.available})
        return
    click.echo("API key configured successfully!")
    click.echo(f"Available credits: {balance.available:,}")


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Say whose key it is, and at which server."""
    with open_client() as client:
        user, balance = client.get_user(), client.get_balance()
    if as_json:
        echo_json({**user.raw, "available": balance.available, "api_url": api_url()})
        return
    from trainshed_client.cli import render

    rows = (
        ("email", user.email),
        ("tier", user.tier),
        ("available credits", f"{balance.available:,}"),
        ("server", api_url()),
    )
    render.show(render.table(("name", user.name), [row for row in rows if row[1]]))


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Show the version."""
    import middleman

    if as_json:
        echo_json({"version": middleman.__version__})
    else:
        click.echo(f"middleman {plain(middleman.__version__)}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script, e.g. for bash: eval "$(middleman completion bash)"."""
    from middleman.cli.main import PROGRAM, cli

    click.echo(completion_script(cli, PROGRAM, shell))
