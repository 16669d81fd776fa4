"""The emulator's machines: where code and data lie, and the timer that counts instructions.

With ``-icount shift=10`` an instruction takes 1024 ns of the emulated time, so the timer advances
by 1024 × timer_hz / 10⁹ ticks an instruction: counts are exact and the same in each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Addresses of a QEMU machine. ``timer``: a CMSDK timer; ``area_bytes`` of code and of RAM."""

    name: str
    code: int
    ram: int
    timer: int
    timer_hz: int
    area_bytes: int = 4 * 1024 * 1024


_MPS2 = (0x0000_0000, 0x2000_0000, 0x4000_0000, 25_000_000)

MACHINES: Mapping[str, Machine] = {
    machine.name: machine
    for machine in (
        Machine("mps2-an385", *_MPS2),  # Cortex-M3; runs the code of a Cortex-M0+ as well
        Machine("mps2-an386", *_MPS2),  # Cortex-M4 with FPU
        Machine("mps2-an500", *_MPS2),  # Cortex-M7 with FPU
        Machine("mps2-an505", 0x1000_0000, 0x3800_0000, 0x5000_0000, 20_000_000),  # Cortex-M33
    )
}
