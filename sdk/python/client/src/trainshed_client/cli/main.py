"""The console script: a table of lazy commands, and what every failure looks like.

Exit codes: 0 ok, 1 failed, 2 usage, 3 not authenticated, 4 not found, 5 no credits,
6 server unreachable, 130 interrupted or detached.

The server adds its verbs by the entry-point group ``trainshed.cli``. Each entry point is a function
``commands() -> Mapping[str, tuple[str, str]]``: name → ("module:click_command", "one line help").
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

_HERE = "trainshed_client.cli"

#: name -> (where the command is, one line of help, the heading it stands under)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "login": (f"{_HERE}.auth:login", "Store a key for a server.", "Start"),
    "logout": (f"{_HERE}.auth:logout", "Forget the key of a server.", "Start"),
    "whoami": (f"{_HERE}.auth:whoami", "Say who is calling, and where.", "Start"),
    "run": (f"{_HERE}.run:run", "Upload this folder, run a command, stream its logs.", "Work"),
    "jobs": (f"{_HERE}.jobs:jobs", "Look at jobs and steer them.", "Work"),
    "schedules": (f"{_HERE}.schedules:schedules", "Run jobs at set times.", "Work"),
    "uploads": (f"{_HERE}.uploads:uploads", "Send files and list them.", "Work"),
    "offers": (f"{_HERE}.people:offers", "Show what is for hire.", "Work"),
    "webhooks": (f"{_HERE}.webhooks:webhooks", "Send events to your own server.", "Account"),
    "channels": (f"{_HERE}.channels:channels", "Send events to people.", "Account"),
    "credits": (f"{_HERE}.people:credits_", "Show the account's credits and entries.", "Account"),
    "keys": (f"{_HERE}.keys:keys", "Make and revoke API keys.", "Account"),
    "users": (f"{_HERE}.people:users", "Manage users (admins).", "Account"),
    "accounts": (f"{_HERE}.people:accounts", "Manage accounts (operators).", "Account"),
    "completion": (f"{_HERE}.completion:completion", "Print a completion script.", "Account"),
}
_SERVER = "Server"
INTERRUPTED = 130


def plugins() -> dict[str, tuple[str, str]]:
    """Return the commands of other packages; one that fails to load is named on stderr."""
    from importlib.metadata import entry_points

    found: dict[str, tuple[str, str]] = {}
    for point in entry_points(group="trainshed.cli"):
        try:
            offered: Mapping[str, tuple[str, str]] = point.load()()
        except Exception as error:  # one broken plugin must not take the command line along
            click.echo(f"warning: the commands of {point.value} cannot load: {error}", err=True)
            continue
        for name, target in offered.items():
            if name in COMMANDS or name in found:
                click.echo(f"warning: {point.value} offers {name!r}, which is taken.", err=True)
            else:
                found[name] = target
    return found


class LazyGroup(click.Group):
    """Knows its commands by name and help line; imports the one that is used."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            from trainshed_client.cli.failures import explain

            code = explain(error)
            if code is None:  # no failure of ours: a bug, which is shown as it is
                raise
            ctx.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            return _load(COMMANDS[cmd_name][0])
        target = plugins().get(cmd_name)
        return _load(target[0]) if target else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            if args[0] in ("up", "demo", "doctor"):
                hint = "It comes with the server: pip install trainshed"
                raise click.UsageError(f"{error.message} {hint}", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, (_, line, heading) in COMMANDS.items():
            headings.setdefault(heading, []).append((name, line))
        for name, (_, line) in plugins().items():
            headings.setdefault(_SERVER, []).append((name, line))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def _load(where: str) -> click.Command:
    module, _, name = where.partition(":")
    found: Any = import_module(module)
    for piece in name.split("."):
        found = getattr(found, piece)
    if not isinstance(found, click.Command):
        raise TypeError(f"{where} is no click command")
    return found


class Version(click.Option):
    """Prints the version, which is looked up only then."""

    def __init__(self) -> None:
        super().__init__(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help="Show the version.",
            callback=self._show,
        )

    @staticmethod
    def _show(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            click.echo(f"trainshed-client {version('trainshed-client')}")
            ctx.exit()


cli = LazyGroup(
    "trainshed",
    help="Run ML jobs on a Trainshed server.",
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 not authenticated, 4 not found, "
    "5 no credits, 6 server unreachable, 130 interrupted or detached.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        Version(),
        click.Option(["--url"], metavar="URL", help="Server to use instead of the profile's."),
        click.Option(["--profile"], metavar="NAME", help="Profile to use; see login."),
    ],
)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        result = cli.main(args, prog_name="trainshed", standalone_mode=False)
        code = result if isinstance(result, int) else 0  # what ctx.exit(code) was given
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        code = 0
    sys.exit(code)


def _silence_stdout() -> None:
    """The reader has gone; let the interpreter not complain when it flushes at the end."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
