"""``trainshed boards``: look at microcontroller boards, check models, run them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainshed_client.cli.context import async_client, echo_json, json_option, open_client
from trainshed_client.cli.lazy import INTERRUPTED, load
from trainshed_client.cli.safe_text import plain

if TYPE_CHECKING:
    from trainshed_client.client import AsyncClient
    from trainshed_client.models import Job
    from trainshed_client.models_boards import Board, ModelCheck

OUTCOME = "outcome.json"
#: The five figures: key -> (what it is, unit, factor).
FIGURES = {
    "duration_avg_s": ("inference", "ms", 1e3),
    "avg_energy_uJ": ("energy", "µJ", 1.0),
    "avg_power_uW": ("power", "µW", 1.0),
    "ram_usage": ("RAM", "KB", 1 / 1024),
    "rom_usage": ("flash", "KB", 1 / 1024),
}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BOARD = click.option("--board", "-b", required=True, metavar="NAME", help="See: boards list.")
_QUANTIZE = click.option("--quantize", is_flag=True, help="Make a float model int8 first.")


class _Boards(click.Group):
    """Ours, and what the server brings for a machine beside a real board."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._more()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in (more := self._more()):
            found = load(more[cmd_name])
        return found

    def _more(self) -> dict[str, str]:
        from trainshed_client.cli.main import plugins

        mine = f"{self.name} "
        return {n[len(mine) :]: at for n, (at, _) in plugins().items() if n.startswith(mine)}


@click.group(cls=_Boards)
def boards() -> None:
    """Run TensorFlow Lite models on microcontroller boards."""


@boards.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the boards and how busy each is."""
    with open_client() as client:
        found = [*client.boards.list()]
    if as_json:
        echo_json(found)
        return
    from trainshed_client.cli import render

    rows = (
        (
            b.name,
            b.core.get("name"),
            f"{b.core.get('clock_hz', 0) / 1e6:g} MHz",
            render.size(b.flash_bytes),
            render.size(b.ram_bytes),
            f"±{b.duration_band * 100:g}%",
            render.cell(b.status, "green" if b.status == "available" else "yellow"),
            f"{b.available} of {b.emulators}",
            b.queue_length,
            b.benches or "",
        )
        for b in found
    )
    heads = (
        "board",
        "core",
        "clock",
        "flash",
        "RAM",
        "times",
        "status",
        "free",
        "queue",
        "benches",
    )
    render.show(render.table(heads, rows))
    if found and found[0].offline:
        click.echo(plain(found[0].offline), err=True)


@boards.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a board's facts, each with where it is from."""
    with open_client() as client:
        found = client.boards.get(name)
    echo_json(found) if as_json else _show(found)


def _show(b: Board) -> None:
    from trainshed_client.cli import render

    kinds = [k for k in ("dsp", "fpu") if b.core.get(k)]
    rows = [
        ("board", f"{b.title} ({b.variant})"),
        ("core", " ".join([str(b.core.get("name")), *kinds])),
        ("clock", f"{b.core.get('clock_hz', 0) / 1e6:g} MHz"),
        ("flash", render.size(b.flash_bytes)),
        ("RAM", f"{render.size(b.ram_bytes)}, {render.size(b.max_arena_bytes)} for tensors"),
        ("voltage", f"{b.voltage_mv} mV"),
        ("figures", f"times and power {b.source}; times ±{b.duration_band * 100:g}%"),
        ("energy", f"±{b.power_band:.0%}, by {b.power_basis}"),
        ("fitted to", ", ".join(b.calibrated_on) or "nothing"),
        ("status", f"{b.status}, {b.available} of {b.emulators} free, {b.queue_length} waiting"),
    ]
    rows += [("note", text) for text in (*b.notes, *([b.offline] if b.offline else []))]
    render.show(render.table(("", ""), rows))
    render.show(render.table(("fact", "source"), sorted(b.sources.items())))


@boards.command()
@click.argument("model", type=_FILE)
@_BOARD
@_QUANTIZE
@json_option
def check(model: Path, board: str, quantize: bool, as_json: bool) -> None:
    """Say whether MODEL, a .tflite file, can run on a board; costs no run."""
    with open_client() as client:
        sent = client.uploads.upload_file(model)
        try:
            found = client.boards.check(board, sent.id, quantize=quantize)
        finally:
            client.uploads.delete(sent.id)
    echo_json(found) if as_json else _tell(found)
    sys.exit(0 if found.valid else 1)


def _tell(found: ModelCheck) -> None:
    from trainshed_client.cli import render

    for kind, remarks in (("error", found.errors), ("warning", found.warnings)):
        for one in remarks:
            click.echo(f"{kind}: {plain(one.message)}")
    if found.estimate is not None:
        e = found.estimate
        work = "" if e.macs is None else f" {e.macs:,} multiply-accumulates,"
        click.echo(
            f"{e.n_operators} operators,{work} about"
            f" {render.size(e.arena_bytes)} of RAM and {render.size(e.flash_bytes)} of flash"
        )
    click.echo("valid" if found.valid else "not valid")


@boards.command()
@click.argument("model", type=_FILE)
@_BOARD
@_QUANTIZE
@click.option("--calibration", type=_FILE, help="An .npz of inputs for --quantize.")
@click.option("--bench", is_flag=True, help="Measure it on a real board; see BENCHES in list.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait for the figures.")
@json_option
def run(model: Path, board: str, as_json: bool, **given: Any) -> None:
    """Run MODEL, a .tflite file, on a board and print its figures; costs one run."""
    try:
        sys.exit(asyncio.run(_run(model, board, as_json, given)))
    except KeyboardInterrupt:
        click.echo("\nthe job goes on; see: trainshed jobs list", err=True)
        sys.exit(INTERRUPTED)


async def _run(model: Path, board: str, as_json: bool, given: dict[str, Any]) -> int:
    async with async_client() as client:
        sent = await client.uploads.upload_file(model)
        found = await client.boards.check(board, sent.id, quantize=given["quantize"])
        if not found.valid:
            await client.uploads.delete(sent.id)
            echo_json(found) if as_json else _tell(found)
            return 1
        calibration = given["calibration"]
        more = await client.uploads.upload_file(calibration) if calibration else None
        job = await client.boards.run(
            board, sent.id, quantize=given["quantize"], job_name=model.name,
            calibration_id=more.id if more else None, bench=given["bench"],
        )  # fmt: skip
        if given["detach"]:
            echo_json(job) if as_json else click.echo(job.id)
            return 0
        click.echo(f"{job.id} on {plain(board)}", err=True)
        done = await client.jobs.wait(job.id)
        return await _figures(client, done, as_json)


async def _figures(client: AsyncClient, job: Job, as_json: bool) -> int:
    """Print what the run says of itself; return the exit code."""
    outcome: dict[str, Any] = {}
    if job.attempt is not None:
        outcome = await _outcome(client, job.id)
    result = outcome.get("result") if job.state == "SUCCEEDED" else None
    if as_json:
        echo_json({"job_id": job.id, "state": job.state, **outcome})
    elif isinstance(result, dict):
        for key, (what, unit, factor) in FIGURES.items():
            click.echo(f"{what:<10}{float(result[key]) * factor:>14,.2f} {unit}")
        click.echo(f"trainshed jobs download {job.id}: all files, with sources and error bands")
    else:
        message = outcome.get("message") or job.message or job.reason or ""
        click.echo(f"{job.state}: {plain(str(message))}", err=True)
    return 0 if isinstance(result, dict) else 1


async def _outcome(client: AsyncClient, job_id: str) -> dict[str, Any]:
    from trainshed_client.errors import NotFound

    try:
        async with client.downloads.open(job_id, OUTCOME) as stream:
            data = b"".join([piece async for piece in stream.chunks()])
        found = json.loads(data)
    except (NotFound, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
