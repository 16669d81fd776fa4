"""``python -m trainshed.workloads.board.check BOARD [--quantize] < model.tflite``: a JSON Report.

With ``-`` for the board, the first line of the standard input is JSON with the keys ``board`` (as
`dataclasses.asdict` of a Board), ``quantize`` and, for a calibration set, ``arrays`` (name to
[numpy's kind, dimensions]); the model follows, and the answer begins with the
line ``ready``. The process limits itself: a hostile model costs it seconds and megabytes at most.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from trainshed.domain.board import Board, Core, Finding, Memory, Power, Report, Timing, Wiring
from trainshed.workloads.board.check.calibration import Shape
from trainshed.workloads.board.check.quantized import check_quantized
from trainshed.workloads.board.check.rules import check
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.model.reader import BadModel, read

MAX_MODEL_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 2**18
MAX_REPORT_BYTES = 2**20
CPU_S = 8
ADDRESS_BYTES = 2 * 2**30


def inspect(
    data: bytes, board: Board, quantize: bool, arrays: Mapping[str, Shape] | None = None
) -> Report:
    """Return the report of a model's bytes; ``arrays``: of a calibration set for ``quantize``."""
    if len(data) > MAX_MODEL_BYTES:
        return refusal(f"The model is larger than {MAX_MODEL_BYTES // 2**20} MB.")
    try:
        graph = read(data)
    except BadModel as bad:
        return Report((Finding(bad.code, str(bad), bad.operator),), (), None)
    return check_quantized(graph, board, arrays) if quantize else check(graph, board)


def refusal(message: str) -> Report:
    """Return a report with one error: the file is no model."""
    return Report((Finding("invalid_model", message),), (), None)


def limit() -> None:
    """Bound this process: its time, its memory, what it writes."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_REPORT_BYTES, MAX_REPORT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def board_of(facts: dict[str, Any]) -> Board:
    """Return the board that was sent as plain values."""
    parts = {"core": Core, "memory": Memory, "timing": Timing, "power": Power, "wiring": Wiring}
    return Board(**{k: parts[k](**v) if k in parts and v else v for k, v in facts.items()})


def main(arguments: list[str], source: IO[bytes]) -> int:
    """Print the report; 0 when the model can run."""
    limit()
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    quantize, arrays = "--quantize" in arguments, None
    if arguments[0] == "-":
        header = json.loads(source.readline(MAX_HEADER_BYTES))
        print("ready", flush=True)
        board, quantize = board_of(header["board"]), header["quantize"]
        if header.get("arrays") is not None:
            arrays = {n: Shape(kind, tuple(dims)) for n, (kind, dims) in header["arrays"].items()}
    elif arguments[0] in boards():
        board = boards()[arguments[0]]
    else:
        print(
            f"There is no board {arguments[0]!r}; there is: {', '.join(boards())}.", file=sys.stderr
        )
        return 2
    report = inspect(source.read(MAX_MODEL_BYTES + 1), board, quantize, arrays)
    print(json.dumps(asdict(report) | {"valid": report.valid}))
    return 0 if report.valid else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer))
