"""``middleman jobs create``: local files are uploaded first, other paths go as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from middleman.cli.context import PATIENT, open_client, travelling
from middleman.cli.watch import show_until_end
from trainshed_client.cli.context import echo_json, json_option
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from middleman.client import MiddlemanClient


def _variable(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Any:
    """Read NAME=VALUE pairs."""
    found = dict(text.partition("=")[::2] for text in given)
    if "" in found or any("=" not in text for text in given):
        raise click.BadParameter("it looks like NAME=VALUE", ctx, option)
    return found


@click.command()
@click.argument("script")
@click.argument("data")
@click.option("--name", "-n", help="What lists call it.")
@click.option("--gpu", "-g", "gpu_type", default="t4", show_default=True, help="t4, v100, a100, …")
@click.option(
    "--gpu-count", "-c", type=click.IntRange(1), default=1, show_default=True, help="1 to 8."
)
@click.option("--framework", "-f", default="pytorch", show_default=True)
@click.option(
    "--max-hours",
    "-h",
    "max_runtime_hours",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="End it after so long; this is what is reserved.",
)
@click.option("--requirements", "-r", help="Requirements file.")
@click.option(
    "--checkpoint-frequency", type=click.IntRange(1), default=10, show_default=True, help="Epochs."
)
@click.option(
    "--env",
    "-e",
    "environment_variables",
    multiple=True,
    callback=_variable,
    metavar="NAME=VALUE",
    help="For the script; repeatable, and kept secret.",
)
@click.option("--remote", is_flag=True, help="Upload nothing: the paths are the server's.")
@click.option("--watch", "-w", is_flag=True, help="Watch until it ends.")
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    /,
    script: str,
    data: str,
    requirements: str | None,
    remote: bool,
    watch: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Queue a training job of SCRIPT over DATA.

    A path that exists here is uploaded (a folder as a zip, by its .trainshedignore); any other is a
    path at the server.
    """
    if not remote:
        _check_local(script, data, requirements)
    with open_client(retries=PATIENT if watch else 4) as client:

        def sent(path: str) -> str:
            return path if remote else _sent(client, path, as_json)

        found = client.create_job(
            sent(script),
            sent(data),
            requirements_file=sent(requirements) if requirements else None,
            **given,
        )
        if as_json:
            echo_json(found, line=watch)
        else:
            click.echo(f"Job {plain(found.id)} {plain(found.status)}")
            click.echo(
                f"position in the queue {found.queue_position}, "
                f"{found.reserved_credits:,} credits reserved",
            )
        if watch:
            ctx.exit(show_until_end(client, found.id, 2.0, as_json))
    if not as_json:
        click.echo(f"watch it: middleman jobs watch {plain(found.id[:8])}", err=True)


def _check_local(script: str, data: str, requirements: str | None) -> None:
    """Refuse what can only be meant for this machine and cannot be sent."""
    for what, path in (("SCRIPT", script), ("DATA", data), ("--requirements", requirements or "")):
        if path.startswith(("./", "../", "~")) and not Path(path).expanduser().exists():
            raise click.BadParameter(f"there is no {path} here.", param_hint=what)
        if what != "DATA" and path and Path(path).expanduser().is_dir():
            raise click.BadParameter(f"{path} is a folder.", param_hint=what)


def _sent(client: MiddlemanClient, path: str, quiet: bool) -> str:
    """Upload ``path`` if it is here; return what names it at the server."""
    local = Path(path).expanduser()
    if not local.exists():
        return path
    if not quiet:
        click.echo(f"uploading {plain(local)}", err=True)
    with travelling(local.name, quiet=quiet) as watch:
        return client.upload_file(local, on_progress=watch)
