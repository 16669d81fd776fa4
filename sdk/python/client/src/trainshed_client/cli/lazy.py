"""A command line that starts fast: a table of commands, each imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click

INTERRUPTED = 130

#: name -> (where the command is: "module:click_command", one line of help, its heading)
Commands = Mapping[str, tuple[str, str, str]]
Explain = Callable[[Exception], int | None]


class LazyGroup(click.Group):
    """Knows its commands by name and help line; imports the one that is used.

    Args:
        commands: The table.
        explain: Prints a failure that is ours and returns its exit code, None for a bug, which is
            then shown as it is: "module:function".
    """

    def __init__(self, name: str, *, table: Commands, explain: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._table, self._explain = table, explain

    def table(self) -> Commands:
        """Return every command."""
        return self._table

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            explain: Explain = load(self._explain)
            code = explain(error)
            if code is None:
                raise
            ctx.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.table()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._table.get(cmd_name) or self.table().get(cmd_name)
        if found is None:
            return None
        command = load(found[0])
        if not isinstance(command, click.Command):
            raise TypeError(f"{found[0]} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = self.hint(args[0])
            if hint is None:
                raise
            raise click.UsageError(f"{error.message} {hint}", ctx) from None

    def hint(self, unknown: str) -> str | None:
        """Return what to tell somebody who wanted the command ``unknown``."""
        from difflib import get_close_matches

        near = get_close_matches(unknown, self.table(), 1)
        return f"Did you mean {near[0]!r}?" if near else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, (_, line, heading) in self.table().items():
            headings.setdefault(heading, []).append((name, line))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def load(where: str) -> Any:
    """Return what "module:name" names; the name may have dots."""
    module, _, name = where.partition(":")
    found: Any = import_module(module)
    for piece in name.split("."):
        found = getattr(found, piece)
    return found


class Version(click.Option):
    """``--version``: prints the version of a distribution, which is looked up only then."""

    def __init__(self, distribution: str) -> None:
        super().__init__(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help="Show the version.",
            callback=self._show,
        )
        self._distribution = distribution

    def _show(self, ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            click.echo(f"{self._distribution} {version(self._distribution)}")
            ctx.exit()


def completion_script(cli: click.Command, program: str, shell: str) -> str:
    """Return the script with which ``shell`` (bash, zsh or fish) completes ``program``."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    variable = f"_{program.upper()}_COMPLETE"
    return kind(cli, {}, program, variable).source()


def run(cli: click.Command, program: str, args: list[str] | None) -> None:
    """Run a command line and exit with its code."""
    try:
        result = cli.main(args, prog_name=program, standalone_mode=False)
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
