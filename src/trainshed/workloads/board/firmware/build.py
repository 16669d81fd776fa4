"""A program, cross-compiled and linked for one board, deterministic and cached by content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache as remember
from importlib import resources
from pathlib import Path
from string import Template

from trainshed.domain.board import Board, Core, Wiring
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.target.machines import MACHINES
from trainshed.workloads.board.target.protocol import Firmware

COMPILER = "arm-none-eabi-gcc"
# models.c takes in the C of each model.
UNITS = ("models.c", "main.c", "start.c", "semihost.c")
BENCH_UNITS = ("models.c", "bench.c", "start.c")
HEADERS = ("semihost.h",)
TIMEOUT_S = 300
#: On a real board: the pin is low this long before the first inference, and between two.
START_MS, GAP_MS = 100, 4
# Scheduling before registers are given out costs more in spills than it gains on these cores.
FLAGS = (
    "-O3", "-fno-schedule-insns", "-std=gnu11", "-mthumb", "-g1", "-ffunction-sections",
    "-fdata-sections", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-math-errno",
    "-fno-common", "-nostartfiles", "-Wl,--gc-sections", "--specs=nosys.specs",
)  # fmt: skip
_FPU = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-sp-d16", "cortex-m33": "fpv5-sp-d16"}
_OVERFLOW = re.compile(r"region `(FLASH|RAM)' overflowed by (\d+) bytes")


class BuildFailed(Exception):
    """The compiler is missing or refused: the platform is at fault, not the model."""


class TooLarge(Exception):
    """The program does not fit. ``area``: ``flash`` or ``RAM``; both sizes in bytes."""

    def __init__(self, area: str, needed_bytes: int, available_bytes: int) -> None:
        super().__init__(
            f"The firmware needs {needed_bytes} bytes of {area}; the board has {available_bytes}."
        )
        self.area = area
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


def build(program: Program, board: Board, folder: Path, cache: Path | None) -> Firmware:
    """Write the sources and ``firmware.elf`` into a folder. ``cache``: a folder of images by key.

    Raises:
        TooLarge: flash or RAM is too small, as the linker says.
        BuildFailed: the compiler is missing, refused or took too long.
    """
    return build_all({"": program}, board, folder, cache)


def build_all(
    programs: Mapping[str, Program], board: Board, folder: Path, cache: Path | None
) -> Firmware:
    """Like ``build``, for programs compiled each with its prefix, run one after another."""
    machine = MACHINES[board.machine]
    room = machine.area_bytes
    script = _linker_script(board, machine.name, machine.code, machine.ram, room)
    sources = _sources(programs, script, UNITS)
    sizes = tuple(port.n_bytes for program in programs.values() for port in program.outputs)
    return _image(sources, flags_for(board), UNITS, board, folder, cache, sizes)


def build_bench(
    program: Program, board: Board, folder: Path, cache: Path | None, n_sets: int
) -> Firmware:
    """Like ``build``, an image for the real board: its own addresses, registers and pin, no host.

    ``n_sets``: how many sets of outputs it has room for.

    Raises:
        ValueError: the board has no wiring.
    """
    wiring = board.wiring
    if wiring is None:
        raise ValueError(f"The file of {board.name} has no section wiring.")
    memory = board.memory
    room = max(memory.flash_bytes, memory.ram_bytes)
    script = _linker_script(board, board.name, wiring.flash_origin, wiring.ram_origin, room)
    sources = _sources({"": program}, script, BENCH_UNITS)
    sizes = tuple(port.n_bytes for port in program.outputs)
    sources["bench.h"] = _bench_header(board.core, wiring, n_sets * sum(sizes))
    flags = (*FLAGS, *_core_flags(board.core))
    return _image(sources, flags, BENCH_UNITS, board, folder, cache, sizes)


def _image(
    sources: Mapping[str, bytes], flags: tuple[str, ...], units: Sequence[str], board: Board,
    folder: Path, cache: Path | None, sizes: tuple[int, ...],
) -> Firmware:  # fmt: skip
    compiler = compiler_version()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sources.items():
        (folder / name).write_bytes(content)
    elf = folder / "firmware.elf"
    kept = cache / f"{_key(sources, flags, compiler)}.elf" if cache is not None else None
    if kept is not None and kept.is_file():
        shutil.copyfile(kept, elf)
    else:
        _compile(flags, units, board, folder)
        if kept is not None:
            _keep(elf, kept)
    digest = hashlib.sha256(elf.read_bytes()).hexdigest()
    return Firmware(elf, digest, flags, compiler, sizes)


def _bench_header(core: Core, wiring: Wiring, result_bytes: int) -> bytes:
    """What ``bench.c`` must know of the board. A turn of a pause takes about four cycles."""
    setup = ", ".join(f"{{{address:#x}u, {value:#x}u}}" for address, value in wiring.setup)
    lines = {
        "SETUP": setup, "PIN_SET": f"{wiring.pin_set:#x}u", "PIN_CLEAR": f"{wiring.pin_clear:#x}u",
        "PIN_MASK": f"{wiring.pin_mask:#x}u", "RESULT_BYTES": f"{result_bytes}u",
        "START_TURNS": f"{core.clock_hz // 4 * START_MS // 1000}u",
        "GAP_TURNS": f"{core.clock_hz // 4 * GAP_MS // 1000}u",
    }  # fmt: skip
    return "".join(f"#define {name} {value}\n" for name, value in lines.items()).encode()


def flags_for(board: Board) -> tuple[str, ...]:
    """Return the compiler's flags for a board, as they are printed with each result."""
    return (*FLAGS, *_core_flags(board.core), f"-DTIMER={MACHINES[board.machine].timer:#x}u")


@remember
def compiler_version() -> str:
    """Return the compiler's own line.

    Raises:
        BuildFailed: it is not installed.
    """
    try:
        shown = subprocess.run(
            [COMPILER, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(f"{COMPILER} cannot be run; install gcc-arm-none-eabi.") from error
    return shown.stdout.splitlines()[0]


def _core_flags(core: Core) -> tuple[str, ...]:
    name = core.name
    if name == "cortex-m33" and not core.dsp:
        name += "+nodsp"
    fpu = _FPU.get(core.name) if core.fpu else None
    if fpu is None:
        return (f"-mcpu={name}", "-mfloat-abi=soft")
    return (f"-mcpu={name}", f"-mfpu={fpu}", "-mfloat-abi=hard")


def _linker_script(board: Board, place: str, code: int, ram: int, room_bytes: int) -> str:
    """``room_bytes``: the most that is there of flash and of RAM."""
    text = (resources.files(__package__ or "") / "memory.ld").read_text()
    return Template(text).substitute(
        board=board.name, place=place, code=hex(code), ram=hex(ram),
        flash_bytes=min(board.memory.flash_bytes, room_bytes),
        ram_bytes=min(board.memory.ram_bytes, room_bytes),
        stack_bytes=max(board.reserved_ram_bytes // 2, 1024) // 8 * 8,
    )  # fmt: skip


def _sources(
    programs: Mapping[str, Program], script: str, units: Sequence[str]
) -> dict[str, bytes]:
    folder = resources.files(__package__ or "")
    shipped = [name for name in (*units, *HEADERS) if name != "models.c"]
    sources = {name: (folder / name).read_bytes() for name in shipped}
    for program in programs.values():
        sources.update(program.sources)
    names = [f"{prefix}model" for prefix in programs]
    taken_in = "".join(f'#include "{name}.c"\n' for name in names)
    listed = ", ".join(f"&{name}" for name in names)
    sources["models.c"] = (
        f"{taken_in}\nconst struct model *const models[] = {{{listed}}};\n"
        f"const uint32_t n_models = {len(names)};\n"
    ).encode()
    sources["memory.ld"] = script.encode()
    return sources


def _key(sources: Mapping[str, bytes], flags: Sequence[str], compiler: str) -> str:
    digest = hashlib.sha256()
    for part in (compiler, *flags, *sorted(sources)):
        digest.update(part.encode() + b"\0")
    for name in sorted(sources):
        digest.update(len(sources[name]).to_bytes(8, "little") + sources[name])
    return digest.hexdigest()


def _compile(flags: tuple[str, ...], units: Sequence[str], board: Board, folder: Path) -> None:
    """Compile in the folder by relative names, so that the image does not depend on its path."""
    command = [
        COMPILER, *flags, f"-fdebug-prefix-map={folder.resolve()}=.", *units,
        "-T", "memory.ld", "-o", "firmware.elf", "-lm",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"The compiler took longer than {TIMEOUT_S} s.") from error
    except OSError as error:
        raise BuildFailed(f"{COMPILER} cannot be run: {error}.") from error
    if done.returncode == 0:
        return
    over = {area: int(n) for area, n in _OVERFLOW.findall(done.stderr)}
    for area, n in over.items():
        size = board.memory.flash_bytes if area == "FLASH" else board.memory.ram_bytes
        raise TooLarge("flash" if area == "FLASH" else "RAM", size + n, size)
    raise BuildFailed(f"The compiler refused the program: {done.stderr.strip()[-2000:]}")


def _keep(elf: Path, kept: Path) -> None:
    """Put an image into the cache, whole or not at all."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as scratch:
        scratch.write(elf.read_bytes())
    Path(scratch.name).replace(kept)
