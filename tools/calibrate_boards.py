"""Fit each board's factor to published times of the keyword-spotting model, and write it down.

    .venv/bin/python tools/calibrate_boards.py FOLDER [--check]

FOLDER holds ``kws_int8.tflite`` and ``published_kws.csv``. For each board with rows of its
reference engine: build the model, count its instructions in the emulator, estimate with a factor
of 1, and take median(published) / estimate. Run it again when the compiler's kernels change;
``--check`` writes nothing and fails where a factor is off by more than 2 %.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from pathlib import Path
from statistics import median

from trainshed.domain.board import Board
from trainshed.workloads.board import facts
from trainshed.workloads.board.compiler.lower import compile_graph
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.firmware.build import build
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.run.compare import random_inputs
from trainshed.workloads.board.target.qemu import Emulator
from trainshed.workloads.board.timing.estimate import estimate
from trainshed.workloads.board.timing.shape import shape_digest

#: Board -> (its name in the rows, the reference engine's, as the rows begin). Where there is a
#: choice it is the engine that is closest in kind to ours: Bosch HALE also makes specialised C of
#: a model ahead of time. nRF5340 and RA6M4 have rows of one engine only, with CMSIS-NN's kernels.
REFERENCES = {
    "nrf5340dk": ("nrf5340 dk", "microTVM CMSIS-NN"),
    "nucleo_l4r5zi": ("nucleo-l4r5zi", "Bosch Hardware-Aware Lowering Engine (HALE)"),
    "nucleo_u575zi": ("nucleo-u575zi-q", "Bosch Hardware-Aware Lowering Engine (HALE)"),
    "nucleo_h7a3zi": ("nucleo-h7a3zi", "Bosch Hardware-Aware Lowering Engine (HALE)"),
    "disco_f746ng": ("disco-f746ng", "Bosch Hardware-Aware Lowering Engine (HALE)"),
    "nucleo_g0b1re": ("nucleo-g0b1re", "Bosch Hardware-Aware Lowering Engine (HALE)"),
    "ek_ra6m4": ("ek-ra6m4", "tflite-micro"),
}
TOLERANCE = 0.02
_SECTION = re.compile(r"\[timing\.calibration\]\n.*?(?=^\[|\Z)", re.DOTALL | re.MULTILINE)


def rows_for(table: Path, board: Board) -> list[dict[str, str]]:
    """The published rows of the board's reference engine at the board's clock."""
    name, engine = REFERENCES[board.name]
    with table.open(encoding="utf-8") as file:
        return [
            row
            for row in csv.DictReader(file)
            if row["board"].lower() == name
            and row["software"].startswith(engine)
            and float(row["clock_mhz"]) * 1e6 == board.core.clock_hz
        ]


def unfitted_s(model: bytes, board: Board) -> float:
    """The estimate with a factor of 1."""
    graph = read(model)
    program = compile_graph(graph, board.core)
    with tempfile.TemporaryDirectory() as folder:
        firmware = build(program, board, Path(folder) / "build", None)
        inputs = random_inputs(graph, 1, 0)
        execution = Emulator().run(firmware, board, inputs, 1, Path(folder) / "run")
    return estimate(program, execution, board).unfitted_s


def section(factor: float, unfitted: float, engine: str, digest: str, rows: list[str]) -> str:
    """The table for the board's file."""
    listed = "".join(f"    {json.dumps(row, ensure_ascii=False)},\n" for row in rows)
    return (
        f"[timing.calibration]\nfactor = {factor:.4f}\nengine = {json.dumps(engine)}\n"
        f'models = ["{digest}"]\nunfitted_ms = {unfitted * 1000:.3f}\nrows = [\n{listed}]\n\n'
    )


def main(arguments: list[str]) -> int:
    """Fit all boards; 1 where ``--check`` finds a factor that is off."""
    folder, checking = Path(arguments[0]), "--check" in arguments
    model = (folder / "kws_int8.tflite").read_bytes()
    digest = shape_digest(read(model))
    off = 0
    for name, (_, engine) in REFERENCES.items():
        board = boards()[name]
        published = rows_for(folder / "published_kws.csv", board)
        unfitted = unfitted_s(model, board)
        factor = median(float(row["latency_ms"]) for row in published) / 1000 / unfitted
        texts = [f"{row['latency_ms']} ms, {row['software']}, {row['source']}" for row in published]
        print(f"{name:<16} {unfitted * 1e3:8.2f} ms × {factor:.3f}   {board.timing.factor:.3f}")
        off += abs(board.timing.factor / factor - 1) > TOLERANCE
        if not checking:
            path = Path(facts.__file__).with_name(f"{name}.toml")
            text = _SECTION.sub("", path.read_text(encoding="utf-8"))
            made = section(factor, unfitted, engine, digest, texts)
            path.write_text(text.replace("[power]", f"{made}[power]"), encoding="utf-8")
    return 1 if checking and off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
