"""``python -m trainshed.workloads.board.run '{"board": "nrf5340dk"}'``: what runs inside the Job.

The model lies in the working directory, the files go to the output directory. The last line and
the exit code say how it ended (``run/outcome.py``).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import trainshed_job
from trainshed.workloads.board.check.__main__ import MAX_MODEL_BYTES
from trainshed.workloads.board.run.outcome import Fault, Outcome, RunFailed
from trainshed.workloads.board.run.pipeline import STAGES, evaluate
from trainshed.workloads.board.spec import BoardSpec
from trainshed.workloads.board.target.far import VARIABLE, FarBench
from trainshed.workloads.board.target.protocol import Target
from trainshed.workloads.board.target.qemu import Emulator

CACHE_VARIABLE = "TRAINSHED_BOARD_CACHE"


def main(arguments: list[str]) -> int:
    """Run the request in ``arguments``; return the exit code of its outcome."""
    folder = trainshed_job.output_dir()
    measured = False
    try:
        request = _request(arguments)
        measured = request.bench
        result = _evaluate(request, folder)
        outcome = Outcome(None, "ok", "", result)
    except RunFailed as error:
        outcome = error.outcome
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        outcome = Outcome(Fault.PLATFORM, "internal", message)
    outcome.write(folder)
    print(_last_line(outcome, measured), flush=True)
    return outcome.exit_code


def _request(arguments: list[str]) -> BoardSpec:
    try:
        (text,) = arguments
        return BoardSpec.from_params(json.loads(text))
    except (TypeError, ValueError) as error:
        raise RunFailed("invalid_request", f"The parameters are wrong: {error}") from error


def _evaluate(request: BoardSpec, folder: Path) -> Mapping[str, float]:
    cache = Path(os.environ[CACHE_VARIABLE]) if os.environ.get(CACHE_VARIABLE) else None
    try:
        if os.path.getsize(request.model) > MAX_MODEL_BYTES:
            raise RunFailed(
                "invalid_model", f"The model is larger than {MAX_MODEL_BYTES // 2**20} MB."
            )
        model = Path(request.model).read_bytes()
    except OSError as error:
        raise RunFailed("invalid_request", f"There is no file {request.model}.") from error
    calibration = Path(request.calibration) if request.calibration else None
    result = evaluate(
        request, model, folder, Emulator(cache),
        calibration=calibration, cache=cache, progress=_tell, bench=_bench(request),
        today=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    trainshed_job.log(None, **result)
    return result


def _bench(request: BoardSpec) -> Target | None:
    if not request.bench:
        return None
    path = os.environ.get(VARIABLE)
    if not path:
        raise RunFailed("target_failed", "No bench can be reached from here.")
    return FarBench(path)


def _tell(stage: str, seconds: float) -> None:
    print(f"{stage}: {seconds:.2f} s", flush=True)
    done = STAGES.index(stage) + 1
    trainshed_job.log(step=done, progress=done / len(STAGES), stage_seconds=seconds)


def _last_line(outcome: Outcome, measured: bool) -> str:
    if outcome.result is None:
        return f"{outcome.code} ({outcome.fault} fault): {outcome.message}"
    milliseconds = outcome.result["duration_avg_s"] * 1000
    source = "measured" if measured else "estimated"
    return f"done: {milliseconds:.2f} ms, {outcome.result['avg_energy_uJ']:.2f} µJ ({source})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
