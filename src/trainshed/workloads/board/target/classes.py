"""Arm instructions sorted into the classes of the timing model, by their mnemonics."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from trainshed.workloads.board.target.protocol import TargetFailed

OBJDUMP = "arm-none-eabi-objdump"

# Beginnings of mnemonics, the first that fits decides.
_STARTS = (
    ("ldm", ("ldm", "pop", "vldm", "vpop", "ldrd")),
    ("stm", ("stm", "push", "vstm", "vpush", "strd")),
    ("ldr", ("ldr", "vldr")),
    ("str", ("str", "vstr")),
    ("div", ("sdiv", "udiv", "vdiv", "vsqrt")),
    ("mul64", ("smull", "umull", "smlal", "umlal", "smmul", "smmla", "umaal")),
    ("mac", ("smla", "smls", "smua", "smus", "smul", "mla", "mls", "mul")),
    ("fp", ("v",)),
)
_BRANCH = re.compile(
    r"b|bl|bx|blx|cbz|cbnz|tbb|tbh|b(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"
)
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+([a-z]\S*)")


def classify(mnemonic: str) -> str:
    """Return the class of an instruction, ``alu`` for all that is no other."""
    word = mnemonic.partition(".")[0]
    if _BRANCH.fullmatch(word):
        return "branch"
    return next((name for name, starts in _STARTS if word.startswith(starts)), "alu")


def classes_of(elf: Path) -> Mapping[int, str]:
    """Return address -> class for each instruction of the program.

    Raises:
        TargetFailed: the program cannot be disassembled here.
    """
    command = [OBJDUMP, "-d", "--no-show-raw-insn", str(elf)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise TargetFailed(f"{OBJDUMP} does not run: {error}. Install binutils for Arm.") from error
    found = (_LINE.match(line) for line in done.stdout.splitlines())
    return {int(m[1], 16): classify(m[2]) for m in found if m}
