"""``trainshed completion``: a script that completes commands and options."""

from __future__ import annotations

import click

from trainshed_client.cli.main import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script, e.g. for bash: eval "$(trainshed completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(kind(cli, {}, "trainshed", "_TRAINSHED_COMPLETE").source())
