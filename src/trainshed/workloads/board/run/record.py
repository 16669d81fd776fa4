"""All that a run found out, as its files need it."""

from __future__ import annotations

from dataclasses import dataclass

from trainshed.domain.board import Board
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.model.graph import Graph
from trainshed.workloads.board.quantize import Quantized
from trainshed.workloads.board.run.compare import Comparison
from trainshed.workloads.board.spec import BoardSpec
from trainshed.workloads.board.target.protocol import Execution, Firmware
from trainshed.workloads.board.timing.estimate import Timed


@dataclass(frozen=True, slots=True)
class Run:
    """``uploaded``: the file as it came; ``inputs``: what the result was compared on; ``bench``:
    the image that ran on a real board, where one did.
    """

    request: BoardSpec
    board: Board
    uploaded: bytes
    quantized: Quantized | None
    graph: Graph
    program: Program
    firmware: Firmware
    inputs: tuple[tuple[bytes, ...], ...]
    execution: Execution
    comparison: Comparison
    timed: Timed
    bench: Firmware | None = None
