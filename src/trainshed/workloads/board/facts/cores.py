"""What all boards with one core have in common: the emulated machine and cycles per instruction.

A board's file names its core and adds only what is the board's own. The cycles per instruction
are ranges of the Arm technical reference manuals, set before any comparison with published times;
those of the Cortex-M7 are a guess at dual issue and say so by their band. ``factor`` is the class
factor for boards without published rows: the median of that core's boards fitted to an engine
that, like ours, makes specialised C of a model (``tools/calibrate_boards.py``); ``band`` is its
relative error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Version of the timing model: the classes, these tables and the formula in ``timing``.
MODEL_VERSION = "1"

#: The classes into which executed instructions are sorted, in the order they are printed.
CLASSES = ("alu", "mac", "mul64", "ldr", "ldm", "str", "stm", "branch", "div", "fp")


@dataclass(frozen=True, slots=True)
class CoreFacts:
    """``machine``: the emulator's machine that runs this core's code, with the same counts."""

    dsp: bool
    fpu: bool
    machine: str
    cpi: Mapping[str, float]
    factor: float
    band: float


_M4 = {
    "alu": 1.0, "mac": 1.0, "mul64": 1.0, "ldr": 1.5, "ldm": 4.0, "str": 1.0, "stm": 4.0,
    "branch": 2.5, "div": 7.0, "fp": 1.2,
}  # fmt: skip
_M33 = {**_M4, "branch": 2.3}
_M7 = {
    "alu": 0.6, "mac": 0.7, "mul64": 0.7, "ldr": 0.9, "ldm": 3.0, "str": 0.8, "stm": 3.0,
    "branch": 1.2, "div": 7.0, "fp": 0.8,
}  # fmt: skip
# No divider and no long multiply: those are calls, counted as what they execute.
_M0PLUS = {
    "alu": 1.0, "mac": 1.0, "mul64": 1.0, "ldr": 2.0, "ldm": 4.0, "str": 2.0, "stm": 4.0,
    "branch": 2.0, "div": 1.0, "fp": 1.0,
}  # fmt: skip

CORES: Mapping[str, CoreFacts] = {
    "cortex-m0plus": CoreFacts(False, False, "mps2-an385", _M0PLUS, 1.64, 0.5),
    "cortex-m3": CoreFacts(False, False, "mps2-an385", _M4, 1.43, 0.5),
    "cortex-m4": CoreFacts(True, True, "mps2-an386", _M4, 1.43, 0.35),
    "cortex-m7": CoreFacts(True, True, "mps2-an500", _M7, 1.20, 0.5),
    "cortex-m33": CoreFacts(True, True, "mps2-an505", _M33, 1.24, 0.35),
}
