"""The counter inside the emulator: compiled here, told where the layers are, and read back."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from trainshed.workloads.board.target.classes import classes_of
from trainshed.workloads.board.target.protocol import LayerCount, TargetFailed

SOURCE = Path(__file__).with_name("plugin.c")
COMPILER = "gcc"
#: The function that calls the layers: it is counted as none of them.
HARNESS = "main"
SPANS, BLOCKS = "spans.txt", "blocks.txt"


@dataclass(frozen=True, slots=True)
class Span:
    """The code of one function: the addresses of its first byte and of its last."""

    first: int
    last: int


def functions(elf: Path) -> Mapping[str, Span]:
    """Return the program's functions; the Thumb bit is taken off."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise TargetFailed("The firmware has no symbols.")
        return {
            symbol.name: Span(symbol["st_value"] & ~1, (symbol["st_value"] & ~1) + size - 1)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and (size := symbol["st_size"])
        }


def compiled(cache: Path | None, folder: Path) -> Path | None:
    """Return the counter as a shared library, from the cache if it is there; None without gcc.

    Raises:
        TargetFailed: there is a compiler, and it fails.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None:
        return None
    source = SOURCE.read_bytes()
    library = (cache or folder) / f"counter-{sha256(source).hexdigest()[:16]}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=library.parent, suffix=".so")
    os.close(handle)
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", scratch, str(SOURCE)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        os.replace(scratch, library)
    except subprocess.SubprocessError as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise TargetFailed(f"The emulator's counter does not compile: {detail[-500:]}") from error
    finally:
        Path(scratch).unlink(missing_ok=True)
    return library


def write_spans(symbols: Sequence[str], known: Mapping[str, Span], folder: Path) -> None:
    """Tell the counter where the layers and the harness are.

    Raises:
        TargetFailed: the program lacks the function that calls the layers.
    """
    if HARNESS not in known:
        raise TargetFailed(f"The firmware has no function {HARNESS}.")
    wanted = [(HARNESS, -1), *((symbol, index) for index, symbol in enumerate(symbols))]
    lines = (f"{known[s].first:x} {known[s].last:x} {index}\n" for s, index in wanted)
    (folder / SPANS).write_text("".join(lines), encoding="ascii")


def read_counts(elf: Path, symbols: Sequence[str], folder: Path) -> tuple[LayerCount, ...]:
    """Return what each layer executed in one inference, by class, from the counter's file.

    Raises:
        TargetFailed: the file is missing, or counts what is no instruction of the program.
    """
    classes = classes_of(elf)
    addresses = sorted(classes)
    totals: list[Counter[str]] = [Counter() for _ in symbols]
    try:
        lines = (folder / BLOCKS).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise TargetFailed("The emulator's counter left no counts.") from error
    for line in lines:
        index, first, last, n, count = line.split()
        if int(index) < 0:
            continue
        start = bisect_left(addresses, int(first, 16))
        inside = addresses[start : start + int(n)]
        if len(inside) != int(n) or inside[0] != int(first, 16) or inside[-1] != int(last, 16):
            raise TargetFailed(f"The emulator ran code at {first} that the firmware does not have.")
        for address in inside:
            totals[int(index)][classes[address]] += int(count)
    return tuple(
        LayerCount(symbol, total.total(), dict(sorted(total.items())))
        for symbol, total in zip(symbols, totals, strict=True)
    )
