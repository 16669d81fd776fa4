"""``login``, ``logout``, ``whoami``: which server, and as whom."""

from __future__ import annotations

import ipaddress
import sys
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from trainshed_client.cli.context import (
    ask_password,
    echo_json,
    json_option,
    open_client,
    target_option,
)
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from trainshed_client.config import Target
    from trainshed_client.models import Me
    from trainshed_client.sync import Client

#: How the name of a key begins that a login made.
_MADE_BY_LOGIN = "trainshed login on"


@click.command()
@click.argument("url")
@click.option("--username", "-u", help="Asked for if absent.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--api-key", help="Store this key instead; - reads it from standard input.")
@click.option(
    "--scope", "scopes", multiple=True, help="What the key may: read, write, admin. Repeatable."
)
@click.option("--as", "name", help="Name of the profile; the host if absent.")
@json_option
def login(
    url: str,
    username: str | None,
    password_stdin: bool,
    api_key: str | None,
    scopes: tuple[str, ...],
    name: str | None,
    as_json: bool,
) -> None:
    """Make a key at the server URL and store it as a profile (mode 0600).

    A key that an earlier login made for the same profile is revoked.

    The key may read and write; admins who need more say --scope read --scope write --scope admin.
    """
    from trainshed_client.config import Target, load, store
    from trainshed_client.sync import Client

    if name and not name.isprintable():
        raise click.BadParameter("it holds characters that cannot be shown.", param_hint="--as")
    url = url if "://" in url else f"http://{url}"
    warn_if_open(url)
    if api_key == "-":
        api_key = sys.stdin.readline().strip()
    if api_key is None:
        api_key = _new_key(url, username, password_stdin, scopes)
    with Client(url, api_key) as client:
        me = client.me()
        url = client.url
    name = name or urlsplit(url).netloc
    former = load().profiles.get(name)
    path = store(Target(url, api_key), name)
    if former is not None and former.api_key != api_key:
        _revoke_former(former)
    if as_json:
        echo_json({"url": url, "profile": name, "path": str(path), "me": me.raw})
    else:
        click.echo(f"{_who(me)} at {url}; profile {name} in {path}")


def _new_key(url: str, username: str | None, password_stdin: bool, scopes: tuple[str, ...]) -> str:
    import socket

    from trainshed_client.sync import Client

    username = username or click.prompt("Username", err=True)
    password = ask_password(password_stdin)
    with Client(url, "none") as client:
        token = client.login(username, password).token
    with Client(url, token) as client:
        name = f"{_MADE_BY_LOGIN} {socket.gethostname()}"
        key = client.keys.create(name, scopes=scopes or None)
        client.logout()
    if not key.secret:
        raise click.ClickException("The server made a key but did not tell it.")
    return key.secret


def _revoke_former(former: Target) -> None:
    """End the key that a profile had, if a login made it; one that no longer works is left."""
    from trainshed_client.errors import TrainshedError
    from trainshed_client.sync import Client

    if not former.api_key:
        return
    try:
        with Client(former.url, former.api_key) as client:
            mine = client.me().key_id
            made = [k for k in client.keys.list() if k.id == mine]
            if made and made[0].name.startswith(_MADE_BY_LOGIN):
                client.keys.revoke(made[0].id)
    except TrainshedError as error:
        if error.status != 401:
            click.echo(f"warning: the former key still works: {plain(error.detail)}", err=True)


def warn_if_open(url: str) -> None:
    """Warn of an address to which the key would travel in the clear."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = host == "localhost"
    with suppress(ValueError):
        local = ipaddress.ip_address(host).is_loopback
    if parts.scheme == "http" and not local:
        click.echo(f"warning: {url} is not encrypted: others can read the key on its way", err=True)


@click.command()
@click.option("--keep-key", is_flag=True, help="Forget the key here but do not revoke it.")
@json_option
def logout(keep_key: bool, as_json: bool) -> None:
    """Revoke the stored key at the server and forget the profile."""
    from trainshed_client.config import forget, load
    from trainshed_client.sync import Client

    config = load()
    name = target_option("profile") or config.default
    target = config.profiles.get(name) if name else None
    if name is None or target is None:
        raise click.UsageError("There is no profile to log out of.")
    revoked = False
    if target.api_key and not keep_key:
        with Client(target.url, target.api_key) as client:
            revoked = _revoke(client)
    forget(name)
    if as_json:
        echo_json({"profile": name, "revoked": revoked})
    else:
        click.echo(f"forgot {name}{'; its key is revoked' if revoked else ''}")


def _revoke(client: Client) -> bool:
    """End the client's own key; a server that is gone or refuses does not stop a logout."""
    from trainshed_client.errors import TrainshedError

    try:
        key_id = client.me().key_id
        if key_id:
            client.keys.revoke(key_id)
        return key_id is not None
    except TrainshedError as error:
        click.echo(f"warning: the key is not revoked: {plain(error.detail)}", err=True)
        return False


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Say who is calling, for which account, at which server."""
    with open_client() as client:
        me = client.me()
        if as_json:
            echo_json(me)
        else:
            click.echo(f"{_who(me)} at {client.url}")


def _who(me: Me) -> str:
    name = plain(me.user.username) if me.user else "an API key"
    account = f" of {plain(me.account.name)}" if me.account else ""
    right = f" ({plain(me.right)}{', operator' if me.operator else ''})" if me.right else ""
    return f"{name}{account}{right}"
