"""The console script: a table of lazy commands.

Exit codes: 0 ok, 1 failed, 2 usage, 3 the job that was watched failed or was cancelled,
130 interrupted.
"""

from __future__ import annotations

import click

from trainshed_client.cli.lazy import Commands, LazyGroup, Version, run

_HERE = "middleman.cli"

COMMANDS: Commands = {
    "auth": (f"{_HERE}.auth:auth", "Store your API key.", "Start"),
    "whoami": (f"{_HERE}.auth:whoami", "Say whose key it is, and at which server.", "Start"),
    "jobs": (f"{_HERE}.jobs:jobs", "Make training jobs, watch and steer them.", "Work"),
    "data": (f"{_HERE}.data:data", "Send files, fetch results.", "Work"),
    "billing": (f"{_HERE}.billing:billing", "Show credits and what they went for.", "Account"),
    "keys": (f"{_HERE}.keys:keys", "Make and revoke API keys.", "Account"),
    "webhooks": (f"{_HERE}.webhooks:webhooks", "Say where events are sent.", "Account"),
    "version": (f"{_HERE}.auth:version", "Show the version.", "Other"),
    "completion": (f"{_HERE}.auth:completion", "Print a completion script.", "Other"),
}
PROGRAM = "middleman"

cli = LazyGroup(
    PROGRAM,
    table=COMMANDS,
    explain=f"{_HERE}.failures:explain",
    help="Train models on a Middleman server.",
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 the watched job failed or was cancelled, "
    "130 interrupted.",
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
    params=[
        Version("middleman-ml"),
        click.Option(["--api-url"], metavar="URL", help="API to use; or set MIDDLEMAN_API_URL."),
    ],
)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    run(cli, PROGRAM, args)
