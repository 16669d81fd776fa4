"""Which boards there are, and what this machine lacks to build and run firmware for them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from trainshed.domain.board import Board
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.facts.calibration import Calibration, apply, read, write

log = structlog.get_logger()

#: Program -> the package (Debian's name) that brings it.
PROGRAMS = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
}
#: Modules of the extra ``boards``.
MODULES = ("tflite_micro", "elftools")


#: The folder of the data directory with what was measured on boards here.
CALIBRATIONS = "boards"


class LocalBoards:
    """Implements ``ports.boards.Boards``. ``measured``: a folder of calibrations, or None."""

    def __init__(self, measured: Path | None = None) -> None:
        """The folder may come later."""
        self._measured = measured

    def facts(self) -> Mapping[str, Board]:
        """Return the shipped boards, with what was measured on them here."""
        return {name: apply(board, self._calibration(name)) for name, board in boards().items()}

    def measured(self, name: str) -> Mapping[str, Any] | None:
        """Return what was measured on a board here, as a parameter of its Jobs."""
        found = self._calibration(name)
        return found.to_dict() if found is not None else None

    def calibrate(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep it as the board's file."""
        try:
            found = Calibration.of(dict(values))
            if found.board != name or self._measured is None:
                return
            write(self._measured, found)
            log.info("board_calibrated", board=name, factor=found.factor)
        except (OSError, ValueError) as error:
            log.warning("board_calibration_dropped", board=name, problem=str(error))

    def _calibration(self, name: str) -> Calibration | None:
        if self._measured is None:
            return None
        try:
            return read(self._measured, name)
        except (OSError, ValueError) as error:
            log.warning("board_calibration_ignored", board=name, problem=str(error))
            return None

    def missing(self) -> str:
        """Return what to install, '' for nothing."""
        packages = [p for program, p in PROGRAMS.items() if shutil.which(program) is None]
        advice = [f"apt-get install {' '.join(packages)}"] if packages else []
        if any(importlib.util.find_spec(name) is None for name in MODULES):
            advice.append("pip install 'trainshed[boards]'")
        return f"Install what is missing: {'; '.join(advice)}." if advice else ""
