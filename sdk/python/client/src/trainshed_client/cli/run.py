"""``trainshed run``: upload the folder, submit, stream the logs, end as the Job ended."""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainshed_client.cli.context import async_client, echo_json, json_option, yes_option
from trainshed_client.cli.lazy import INTERRUPTED

if TYPE_CHECKING:
    from trainshed_client.client import AsyncClient
    from trainshed_client.folder import Folder
    from trainshed_client.models import Job

F = TypeVar("F", bound=Callable[..., Any])
_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: More than this is asked about first: it is rarely meant.
_LARGE_BYTES = 1024**3
#: The server's limit on a job's inputs.
_MOST_FILES = 1000


class Amount(click.ParamType[int]):
    """A number with a unit, such as ``4G`` or ``90m``."""

    def __init__(self, name: str, units: dict[str, int]) -> None:
        self.name, self._units = name, units

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]?)(?:i?b)?", str(value).strip().lower())
        if not found or found[2] not in self._units:
            units = ", ".join(unit for unit in self._units if unit)
            self.fail(f"{value!r} is no number with one of {units}", param, ctx)
        return int(float(found[1]) * self._units[found[2]])


class Gpu(click.ParamType[tuple[str | None, int]]):
    """``TYPE``, ``TYPE:N`` or ``N``."""

    name = "T[:N]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str | None, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?:([^:\s]+):)?([1-9]\d{0,3})|([^:\s]*[^:\s\d][^:\s]*)", str(value))
        if not found:
            self.fail(f"{value!r} is not like A100, A100:2 or 2", param, ctx)
        return found[1] or found[3], int(found[2] or 1)


def env_pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return ``K=V`` pairs as a mapping; a bare ``K`` takes our own value of it."""
    import os

    found: dict[str, str] = {}
    for pair in values:
        name, equals, value = pair.partition("=")
        if not name or (not equals and name not in os.environ):
            raise click.BadParameter(f"{pair!r} is not K=V, and {name!r} is not set here.")
        found[name] = value if equals else os.environ[name]
    return found


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return ``value``, which must not be nan or inf."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no amount.")
    return value


def text(ctx: click.Context, param: click.Parameter, value: Any) -> str | None:
    """Return what is in an open file."""
    try:
        return None if value is None else str(value.read())
    except ValueError as error:
        raise click.BadParameter(f"{value.name!r} is not UTF-8 text.") from error


def resource_options(function: F) -> F:
    """Add the options that become members of the JobSpec; see ``spec``."""
    options = (
        click.option(
            "--gpu", type=Gpu(), help="GPU type and number: A100, A100:2, or 2 of any type."
        ),
        click.option(
            "--cpus",
            type=click.FloatRange(min=0, min_open=True),
            callback=finite,
            help="Processor cores.",
        ),
        click.option("--memory", type=Amount("SIZE", _SIZES), help="Memory, such as 4G."),
        click.option("--image", help="Container image to run in."),
        click.option(
            "--requirements",
            type=click.File(encoding="utf-8"),
            callback=text,
            metavar="FILE",
            help="Packages to run with: a requirements file.",
        ),
        click.option(
            "--env", "-e", multiple=True, callback=env_pairs, metavar="K=V", help="Repeatable."
        ),
        click.option("--max-runtime", type=Amount("TIME", _SECONDS), help="Such as 90m or 2h."),
        click.option("--retries", type=click.IntRange(0), help="Tries after a failure."),
        click.option("--priority", type=int, help="Higher runs sooner."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def name_option(function: F) -> F:
    """Add ``--name``, for commands that take the name from nowhere else."""
    return click.option("--name", help="Name of the job; the folder's if absent.")(function)


def upload_options(function: F) -> F:
    """Add the options that say which folder goes with the job; see ``inputs``."""
    function = click.option("--no-upload", is_flag=True, help="Upload nothing.")(function)
    return click.option(
        "--upload",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=".",
        metavar="DIR",
        help="Folder to upload; this one if absent. See .trainshedignore.",
    )(function)


@click.command(context_settings={"allow_interspersed_args": False})
@name_option
@resource_options
@upload_options
@click.option("--detach", "-d", is_flag=True, help="Do not follow the logs.")
@json_option
@yes_option
@click.argument("command", nargs=-1, required=True)
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> None:
    """Upload this folder, run COMMAND there, and stream its logs.

    Put -- before COMMAND. Ctrl-C detaches: the job goes on. Exits 0 if the job succeeded, 1 if it
    failed or was cancelled, 130 if detached by Ctrl-C. With --json the logs go to standard error
    and the job, as it ended, to standard output.
    """
    submitted: list[str] = []
    try:
        ctx.exit(asyncio.run(_run(given, submitted)))
    except KeyboardInterrupt:
        if submitted:
            click.echo(
                f"\ndetached; the job goes on. Follow it: trainshed jobs logs -f {submitted[0]}\n"
                f"Cancel it: trainshed jobs cancel {submitted[0]}",
                err=True,
            )
        else:
            click.echo("\ninterrupted; nothing was submitted", err=True)
        ctx.exit(INTERRUPTED)


async def _run(given: dict[str, Any], submitted: list[str]) -> int:
    async with async_client() as client:
        sent = await inputs(client, given)
        job = await client.jobs.create(given["command"], inputs=sent, **spec(given))
        submitted.append(job.id)
        if given["detach"]:
            echo_json(job) if given["as_json"] else click.echo(job.id)
            return 0
        click.echo(f"{job.id} submitted", err=True)
        return await _follow(client, job, given["as_json"])


async def inputs(client: AsyncClient, given: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Upload the folder and return it as a job's inputs.

    The server first refuses what it must, and says what a job will reserve.
    """
    plan = await client.jobs.plan(given["command"], **spec(given))
    from trainshed_client.cli.render import credits
    from trainshed_client.cli.safe_text import plain

    click.echo(f"reserves at most {credits(plan.hold_ucredits)} credits ({plan.pool})", err=True)
    for note in plan.notes:
        click.echo(plain(note), err=True)
    return () if given["no_upload"] else await _upload(client, given)


def spec(given: dict[str, Any]) -> dict[str, Any]:
    """Return the JobSpec members that the options ask for; None for those they leave alone."""
    if given["image"] and given["requirements"] is not None:
        raise click.UsageError("--requirements needs the server's own Python: leave out --image.")
    resources: dict[str, Any] = {}
    if given["gpu"]:
        resources |= {"gpu_type": given["gpu"][0], "gpus": given["gpu"][1]}
    if given["cpus"] is not None:
        cpus = given["cpus"]
        resources["cpus"] = int(cpus) if cpus.is_integer() else cpus
    if given["memory"] is not None:
        resources["memory_bytes"] = given["memory"]
    retries = given["retries"]
    return {
        "name": given["name"] or given.get("upload", Path()).resolve().name or "job",
        "env": given["env"] or None,
        "environment": _environment(given["image"], given["requirements"]),
        "resources": resources or None,
        "max_runtime_s": given["max_runtime"],
        "retry": {"max_retries": retries} if retries is not None else None,
        "priority": given["priority"],
    }


def _environment(image: str | None, requirements: str | None) -> dict[str, str] | None:
    if image:
        return {"kind": "image", "value": image}
    return None if requirements is None else {"kind": "requirements", "value": requirements}


async def _upload(client: AsyncClient, given: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    from trainshed_client.cli.context import confirm
    from trainshed_client.cli.render import files, size
    from trainshed_client.folder import scan

    folder = scan(given["upload"])
    summary = f"{files(len(folder.files))}, {size(folder.size_bytes)}"
    click.echo(f"uploading {folder.root.resolve()}: {summary}", err=True)
    if folder.skipped:
        click.echo(f"left out {len(folder.skipped)} links or special files", err=True)
    if len(folder.files) > _MOST_FILES:
        raise click.UsageError(
            f"A job takes at most {_MOST_FILES} input files: leave some out with "
            ".trainshedignore, or pack them."
        )
    if folder.size_bytes > _LARGE_BYTES:
        confirm(f"Upload {summary}? (.trainshedignore leaves files out)", given["yes"])
    return await _send(client, folder)


async def _send(client: AsyncClient, folder: Folder) -> tuple[dict[str, Any], ...]:
    if not sys.stderr.isatty():
        return await client.uploads.upload_folder(folder)
    from rich.progress import Progress

    from trainshed_client.cli.render import console

    sent: dict[str, int] = {}
    with Progress(console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("uploading", total=max(1, folder.size_bytes))

        def tell(progress: Any) -> None:
            sent[progress.path] = progress.sent_bytes
            bar.update(task, completed=sum(sent.values()))

        return await client.uploads.upload_folder(folder, on_progress=tell)


async def _follow(client: AsyncClient, job: Job, as_json: bool) -> int:
    from trainshed_client.cli.follow import Lines, follow_job, pump, write
    from trainshed_client.cli.safe_text import plain

    streams = frozenset({"stdout", "stderr", "system"})
    if as_json:
        lines = Lines(lambda _, line: write(sys.stderr, line), colour=False)
        await pump(client, job.id, lines, streams)
        done = await client.jobs.wait(job.id)
        echo_json(done)
    else:
        done = await follow_job(client, job.id, wanted=streams)
    why = f" ({plain(done.reason)})" if done.reason else ""
    click.echo(f"{done.id} {plain(done.state)}{why} {plain(done.message or '')}".rstrip(), err=True)
    return 0 if done.state == "SUCCEEDED" else 1
