"""``trainshed completion``: a script that completes commands and options."""

from __future__ import annotations

import click

from trainshed_client.cli.lazy import completion_script
from trainshed_client.cli.main import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script, e.g. for bash: eval "$(trainshed completion bash)"."""
    click.echo(completion_script(cli, "trainshed", shell))
