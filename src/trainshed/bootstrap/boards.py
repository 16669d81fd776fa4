"""Which boards there are, and what this machine lacks to build and run firmware for them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping

from trainshed.domain.board import Board
from trainshed.workloads.board.facts import boards

#: Program -> the package (Debian's name) that brings it.
PROGRAMS = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
}
#: Modules of the extra ``boards``.
MODULES = ("tflite_micro", "elftools")


class LocalBoards:
    """Implements ``ports.boards.Boards``."""

    def facts(self) -> Mapping[str, Board]:
        """Return the shipped boards."""
        return boards()

    def missing(self) -> str:
        """Return what to install, '' for nothing."""
        packages = [p for program, p in PROGRAMS.items() if shutil.which(program) is None]
        advice = [f"apt-get install {' '.join(packages)}"] if packages else []
        if any(importlib.util.find_spec(name) is None for name in MODULES):
            advice.append("pip install 'trainshed[boards]'")
        return f"Install what is missing: {'; '.join(advice)}." if advice else ""
