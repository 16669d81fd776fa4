"""``trainshed measure-board``: measure a model on a board at a debug probe and a power profiler."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainshed.bootstrap.boards import CALIBRATIONS

if TYPE_CHECKING:
    from trainshed.workloads.board.target.protocol import Target

FAILED = 1
_DATA = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of a server on this machine: its later estimates use what is measured.",
)  # fmt: skip


Command = Callable[..., None]


def hardware(command: Command) -> Command:
    """Add the options that say where probe and power profiler are."""
    options = [
        click.option("--probe", default="",
                     help="Unique id of the debug probe; default: the only one."),
        click.option("--pack", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="CMSIS pack of the part, for parts that pyOCD does not know."),
        click.option("--ppk2", default="", help="Serial port of the PPK2; default: the only one."),
        click.option("--supply", type=click.Choice(["ampere", "source"]), default="ampere",
                     show_default=True, help="The PPK2 measures in the supply line, or supplies."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def bench_of(folder: Path, probe: str, pack: Path | None, ppk2: str, supply: str) -> Target:
    """Return the bench of the options of ``hardware``; ``folder`` is scratch."""
    from trainshed.workloads.board.target.bench import Bench
    from trainshed.workloads.board.target.ppk2 import Ppk2
    from trainshed.workloads.board.target.pyocd_probe import PyOcd

    return Bench(PyOcd(probe, pack, project=folder), Ppk2(ppk2, source=supply == "source"))


@click.command("measure-board")
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--board", required=True, help="Its name, such as nrf52840dk.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="measured",
              show_default=True, help="Write the files of the run here.")  # fmt: skip
@hardware
@click.option("--inferences", type=click.IntRange(1, 100), default=10, show_default=True)
@click.option("--quantize", is_flag=True, help="Make a float model int8 first.")
@click.option("--calibration-set", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="An .npz for --quantize.")  # fmt: skip
@_DATA
def measure(
    model: Path, board: str, out: Path, inferences: int, quantize: bool,
    calibration_set: Path | None, data: Path | None, **given: Any,
) -> None:  # fmt: skip
    """Compile MODEL, compare it with the reference in the emulator, run it on the real board, and
    write all files with its measured time and power.
    """
    with tempfile.TemporaryDirectory(prefix="probe-") as project:
        bench = bench_of(Path(project), **given)
        wanted = {"board": board, "quantize": quantize, "n_inferences": inferences}
        sys.exit(run(model, wanted, bench, out, data, calibration_set))


def run(
    model: Path, wanted: dict[str, Any], bench: Target, out: Path, data: Path | None,
    calibration_set: Path | None,
) -> int:  # fmt: skip
    """Measure, tell, and keep the factor; return the exit code."""
    from trainshed.workloads.board.facts import calibration
    from trainshed.workloads.board.run.outcome import RunFailed
    from trainshed.workloads.board.run.pipeline import evaluate
    from trainshed.workloads.board.spec import BoardSpec
    from trainshed.workloads.board.target.qemu import Emulator

    today = datetime.now(UTC).date().isoformat()
    try:
        request = BoardSpec.from_params(wanted)
        result = evaluate(
            request, model.read_bytes(), out, Emulator(), bench=bench, today=today,
            calibration=calibration_set,
            progress=lambda stage, seconds: click.echo(f"{stage}: {seconds:.2f} s", err=True),
        )  # fmt: skip
        found = calibration.read(out, calibration.MEASURED)
    except (RunFailed, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        return FAILED
    click.echo(f"Duration: {result['duration_avg_s'] * 1000:.3f} ms (measured)")
    click.echo(f"Power:    {result['avg_power_uW'] / 1000:.2f} mW (measured)")
    click.echo(f"Energy:   {result['avg_energy_uJ']:.2f} µJ (measured)")
    click.echo(f"Files:    {out}")
    if found is not None:
        click.echo(f"Factor:   {found.factor:.4g}, for estimates of {found.board}")
        if data is not None:
            click.echo(f"Kept:     {calibration.write(data / CALIBRATIONS, found)}")
    return 0
