"""The server's verbs for the ``trainshed`` command; the SDK finds them by entry point (D18)."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click


def commands() -> Mapping[str, tuple[str, str]]:
    """Return verb -> (module:command, one line of help); nothing is imported before it is used."""
    here = "trainshed.bootstrap.cli"
    return {
        "up": (f"{here}:up", "Start the server."),
        "demo": (f"{here}:demo", "Run a real training job from upload to receipt."),
        "demo-board": (f"{here}:demo_board", "Learn what a small network costs on three boards."),
        "measure-board": ("trainshed.bootstrap.bench:measure", "Measure a model on a real board."),
        "boards attach": ("trainshed.bootstrap.attach:attach", "Let a server measure on a board."),
        "doctor": (f"{here}:doctor", "Check the machine, or with --verify the data."),
        "backup": (f"{here}:backup", "Write a restorable copy of the data."),
        "restore": (f"{here}:restore", "Make a data directory from a backup."),
        "gc": (f"{here}:gc", "Delete stored content that nothing refers to."),
        "rotate": (f"{here}:rotate", "Seal secrets under a new key from now on."),
    }


_DATA = click.option(
    "--data", type=click.Path(path_type=Path), help="Data directory ($TRAINSHED_DATA)."
)
_DATABASE = click.option("--database", help="Database URL; default SQLite in the data directory.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")


def _settings(**given: Any) -> Any:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from trainshed.bootstrap.settings import load

    if given.get("listen") == ():
        given["listen"] = None
    try:
        return load(**given)
    except ValidationError as error:  # what was given is not repeated: it may be a password
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(p) for p in first["loc"])
        raise click.UsageError(f"The setting {name} is wrong: {first['msg']}.") from None
    except (SettingsError, ValueError, OSError) as error:
        raise click.UsageError(f"The settings cannot be read: {error}.") from None


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """End with one line on standard error where the server's own words say what is wrong: status
    2 if a setting is, else 1.
    """
    from trainshed.bootstrap.wiring import BadSetting, Refused
    from trainshed.domain.errors import TrainshedError

    try:
        yield
    except BadSetting as error:
        raise click.UsageError(str(error)) from error
    except (Refused, TrainshedError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@click.command()
@_DATA
@_DATABASE
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="May be repeated.")
@click.option("--config", type=click.Path(path_type=Path, exists=True), help="TOML file.")
@click.option("--env-file", type=click.Path(path_type=Path), help="Default: .env")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def up(**given: Any) -> None:
    """Start the server; running jobs of an earlier one are taken over."""
    from trainshed.bootstrap.server import up as serve

    with _explained():
        sys.exit(serve(_settings(**given)))


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Keep everything here.")
@_JSON
def demo(data: Path | None, as_json: bool) -> None:
    """Train a classifier on real images through the queue and score what comes back."""
    from trainshed.bootstrap.demo.run import run

    sys.exit(run(data, as_json))


@click.command("demo-board")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="demo-board",
    show_default=True, help="Keep the model and the figures here.",
)  # fmt: skip
@_JSON
def demo_board(out: Path, as_json: bool) -> None:
    """Train a small network and learn what it costs on three emulated boards."""
    from trainshed.bootstrap.demo.boards import run

    sys.exit(run(out, as_json))


@click.command()
@_DATA
@_DATABASE
@click.option("--verify", is_flag=True, help="Check every invariant of the data, read-only.")
@_JSON
def doctor(data: Path | None, database: str | None, verify: bool, as_json: bool) -> None:
    """Say what this machine can do; with --verify, whether the data is sound."""
    from trainshed.bootstrap import doctor as checks

    settings = _settings(data=data, database=database)
    if verify:
        with _explained():
            broken = checks.verify(settings)
        words = broken or ["Every invariant holds."]
        click.echo(json.dumps({"broken": broken}) if as_json else "\n".join(words))
        sys.exit(1 if broken else 0)
    found = checks.machine(settings)
    if as_json:
        click.echo(json.dumps([line._asdict() for line in found]))
    else:
        for line in found:
            click.echo(f"{line.mark:<4} {line.what:<22} {line.found}")
            if line.advice:
                click.echo(f"     {'':<22} {line.advice}")
    sys.exit(1 if any(line.mark == "bad" for line in found) else 0)


@click.command()
@_DATA
@click.argument("target", type=click.Path(path_type=Path))
def backup(data: Path | None, target: Path) -> None:
    """Copy database, stored content and secrets to TARGET (a new folder); the server may run."""
    from trainshed.bootstrap import archive

    with _explained():
        click.echo(archive.backup(_settings(data=data), target))


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A new folder.")
def restore(source: Path, data: Path) -> None:
    """Make a data directory from a backup and verify it."""
    from trainshed.bootstrap import archive

    with _explained():
        click.echo(archive.restore(source, data))


@click.command()
@_DATA
@_DATABASE
@click.option("--grace-hours", type=float, default=24, show_default=True)
def gc(data: Path | None, database: str | None, grace_hours: float) -> None:
    """Delete content that no upload, artifact or log refers to (stop the server first)."""
    from trainshed.bootstrap.archive import collect

    with _explained():
        swept = collect(_settings(data=data, database=database), grace_hours)
    click.echo(f"deleted {swept.blobs} blobs, {swept.bytes_freed} bytes")


@click.command()
@_DATA
def rotate(data: Path | None) -> None:
    """Add an encryption key, used from the next start on; old ones open what they sealed."""
    from trainshed.bootstrap.secrets import FileSecrets

    folder = _settings(data=data).data / "secrets"
    with _explained():
        if not folder.is_dir():
            from trainshed.bootstrap.wiring import Refused

            raise Refused(f"There are no secrets in {folder.parent}; start the server once.")
        FileSecrets(folder).rotate()
    click.echo("A new key is in the ring; restart the server to use it.")
