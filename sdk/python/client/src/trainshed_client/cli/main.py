"""The console script: a table of lazy commands, and what every failure looks like.

Exit codes: 0 ok, 1 failed, 2 usage, 3 not authenticated, 4 not found, 5 no credits,
6 server unreachable, 130 interrupted or detached.

The server adds its verbs by the entry-point group ``trainshed.cli``. Each entry point is a function
``commands() -> Mapping[str, tuple[str, str]]``: name → ("module:click_command", "one line help");
a name of two words, such as "boards attach", is a command of our group.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from trainshed_client.cli.lazy import Commands, LazyGroup, Version, run

_HERE = "trainshed_client.cli"

#: name -> (where the command is, one line of help, the heading it stands under)
COMMANDS: Commands = {
    "login": (f"{_HERE}.auth:login", "Store a key for a server.", "Start"),
    "logout": (f"{_HERE}.auth:logout", "Forget the key of a server.", "Start"),
    "whoami": (f"{_HERE}.auth:whoami", "Say who is calling, and where.", "Start"),
    "run": (f"{_HERE}.run:run", "Upload this folder, run a command, stream its logs.", "Work"),
    "jobs": (f"{_HERE}.jobs:jobs", "Look at jobs and steer them.", "Work"),
    "schedules": (f"{_HERE}.schedules:schedules", "Run jobs at set times.", "Work"),
    "boards": (f"{_HERE}.boards:boards", "Run models on microcontroller boards.", "Work"),
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


class Trainshed(LazyGroup):
    """Our commands, and those of other packages."""

    def table(self) -> Commands:
        found = {name: (*at, _SERVER) for name, at in plugins().items() if " " not in name}
        return {**COMMANDS, **found}

    def hint(self, unknown: str) -> str | None:
        found = super().hint(unknown)
        if found is None and unknown in ("up", "demo", "doctor"):
            return "It comes with the server: pip install trainshed"
        return found


cli = Trainshed(
    "trainshed",
    table=COMMANDS,
    explain=f"{_HERE}.failures:explain",
    help="Run ML jobs on a Trainshed server.",
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 not authenticated, 4 not found, "
    "5 no credits, 6 server unreachable, 130 interrupted or detached.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        Version("trainshed-client"),
        click.Option(["--url"], metavar="URL", help="Server to use instead of the profile's."),
        click.Option(["--profile"], metavar="NAME", help="Profile to use; see login."),
    ],
)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    run(cli, "trainshed", args)
