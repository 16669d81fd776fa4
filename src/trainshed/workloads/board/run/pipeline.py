"""A model and a board in, figures and files out: read, check, quantise, compile, build, run,
compare with the reference, estimate, report.

Whatever goes wrong is a ``RunFailed`` with the code of ``run/outcome.py``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from trainshed.domain.board import Board
from trainshed.workloads.board.check.rules import check
from trainshed.workloads.board.compiler.lower import Unsupported, compile_graph
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.facts.calibration import MEASURED, Calibration, apply, write
from trainshed.workloads.board.firmware.build import BuildFailed, TooLarge, build, build_bench
from trainshed.workloads.board.model.flatbuffer import BadModel
from trainshed.workloads.board.model.graph import Graph
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.oracle import ReferenceFailed
from trainshed.workloads.board.quantize import (
    MAX_CALIBRATION_BYTES,
    Quantized,
    QuantizeFailed,
    quantize,
)
from trainshed.workloads.board.run.compare import compare, random_inputs
from trainshed.workloads.board.run.files import write_files
from trainshed.workloads.board.run.outcome import RunFailed
from trainshed.workloads.board.run.record import Run
from trainshed.workloads.board.spec import BoardSpec
from trainshed.workloads.board.target.bench import wiring_of
from trainshed.workloads.board.target.protocol import Target, TargetFailed, TooLong
from trainshed.workloads.board.timing.calibration import fit
from trainshed.workloads.board.timing.estimate import Timed, estimate
from trainshed.workloads.board.timing.shape import shape_digest

#: How many random inputs the result is compared on.
N_SETS = 3
#: A bench, which many may wait for, is given what takes about so long and no more. It gives up
#: after ``target.bench.TIMEOUT_S``: an estimate may be too low.
BENCH_S = 150.0
#: How many findings of the check a message shows.
SHOWN = 3
STAGES = (
    "read",
    "quantize",
    "check",
    "compile",
    "build",
    "run",
    "compare",
    "measure",
    "estimate",
    "report",
)

Progress = Callable[[str, float], None]


def evaluate(
    request: BoardSpec, model: bytes, folder: Path, target: Target, *,
    calibration: Path | None = None, cache: Path | None = None, bench: Target | None = None,
    today: str = "", progress: Progress = lambda stage, seconds: None,
) -> Mapping[str, float]:  # fmt: skip
    """Run a model and write all files into ``folder``; return the five figures.

    ``progress`` is told each stage at its end, with the seconds it took. ``calibration``: the
    ``.npz`` of the request. ``cache``: where firmware is kept by content. ``bench``: the real
    board, which then gives time and power; ``target`` counts instructions all the same. ``today``:
    the date, ISO, under which ``calibration.json`` then keeps the board's factor.

    Raises:
        RunFailed: with the code that says whose fault it is.
    """
    with tempfile.TemporaryDirectory(prefix="board-") as scratch, _told():
        run = _run(request, model, Path(scratch), target, bench, calibration, cache, progress)
        found = fit(run.board, run.timed, shape_digest(run.graph), today) if bench else None
        with _stage(progress, "report"):
            result = write_files(run, folder)
            if found is not None:
                write(folder, found, MEASURED)
            return result


def _run(
    request: BoardSpec, model: bytes, scratch: Path, target: Target, bench: Target | None,
    calibration: Path | None, cache: Path | None, progress: Progress,
) -> Run:  # fmt: skip
    board = boards().get(request.board)
    if board is None:
        raise RunFailed("invalid_request", f"There is no board {request.board!r}.")
    if bench is not None:
        wiring_of(board)
    board = apply(board, Calibration.of(request.measured) if request.measured else None)
    with _stage(progress, "read"):
        graph = read(model)
    quantized = None
    if request.quantize:
        with _stage(progress, "quantize"):
            quantized = _quantize(model, calibration, request.seed)
            graph = read(quantized.model)
    ran = quantized.model if quantized else model
    with _stage(progress, "check"):
        _check(graph, board)
    with _stage(progress, "compile"):
        program = compile_graph(graph, board.core)
    with _stage(progress, "build"):
        firmware = build(program, board, scratch / "build", cache)
    inputs = random_inputs(graph, N_SETS, request.seed)
    with _stage(progress, "run"):
        execution = target.run(firmware, board, inputs, request.n_inferences, scratch / "run")
    with _stage(progress, "compare"):
        comparison = compare(
            ran, graph, program, firmware, board, inputs, execution, target, scratch / "layers"
        )
    image = None
    if bench is not None:
        with _stage(progress, "measure"):
            image = build_bench(program, board, scratch / "image", cache, len(inputs))
            n = _n_measured(request.n_inferences, estimate(program, execution, board))
            seen = bench.run(image, board, inputs, n, scratch / "bench")
            compare(ran, graph, program, image, board, inputs, seen, bench, scratch / "layers")
            execution = replace(execution, n_inferences=n, seconds=seen.seconds, trace=seen.trace)
    with _stage(progress, "estimate"):
        timed = estimate(program, execution, board, shape_digest(graph))
    return Run(
        request, board, model, quantized, graph, program, firmware, inputs, execution, comparison,
        timed, image,
    )  # fmt: skip


def _n_measured(n_inferences: int, timed: Timed) -> int:
    """Return how many inferences a bench takes the time for, of those that were asked."""
    return max(1, min(n_inferences, int(BENCH_S / timed.duration.value) - (N_SETS - 1)))


def _quantize(model: bytes, calibration: Path | None, seed: int) -> Quantized:
    if calibration is None:
        return quantize(model, None, seed)
    try:
        size = calibration.stat().st_size
        if size > MAX_CALIBRATION_BYTES:
            raise RunFailed("invalid_request", f"The calibration set has {size} bytes.")
        return quantize(model, calibration.read_bytes(), seed)
    except OSError as error:
        raise RunFailed("invalid_request", f"There is no file {calibration}.") from error


def _check(graph: Graph, board: Board) -> None:
    errors = check(graph, board).errors
    if errors:
        large = all(finding.code.endswith("_too_large") for finding in errors)
        code = "too_large" if large else "unsupported"
        shown = [finding.message for finding in errors[:SHOWN]]
        more = f"And {len(errors) - SHOWN} more." if len(errors) > SHOWN else ""
        raise RunFailed(code, " ".join((*shown, more)).rstrip())


@contextmanager
def _stage(progress: Progress, name: str) -> Iterator[None]:
    start = perf_counter()
    yield
    progress(name, perf_counter() - start)


@contextmanager
def _told() -> Iterator[None]:
    """Each part's own failure becomes the code that says whose fault it is."""
    try:
        yield
    except BadModel as error:
        raise RunFailed("invalid_model", str(error)) from error
    except QuantizeFailed as error:
        raise RunFailed("quantization_failed", str(error)) from error
    except Unsupported as error:
        raise RunFailed("unsupported", f"Operator {error.operator}: {error}") from error
    except TooLarge as error:
        raise RunFailed("too_large_linked", str(error)) from error
    except BuildFailed as error:
        missing = shutil.which("arm-none-eabi-gcc") is None
        raise RunFailed("toolchain_missing" if missing else "build_failed", str(error)) from error
    except TooLong as error:
        raise RunFailed("too_long", str(error)) from error
    except TargetFailed as error:
        raise RunFailed("target_failed", str(error)) from error
    except ReferenceFailed as error:
        raise RunFailed("reference_failed", str(error)) from error
