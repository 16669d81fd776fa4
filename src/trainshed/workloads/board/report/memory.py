"""Where the bytes of a firmware are: one tree for RAM, one for ROM, from its symbols and DWARF.

The shape is that of Zephyr's reports: ``{"symbols": root, "total_size": n}``, each node with
``name``, ``identifier``, ``size`` and, where it has any, ``children`` that sum to the size. The
root of a tree is the sum of the firmware's sections in that memory; what no symbol names is there
as "(no symbol)".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from trainshed.workloads.board.compiler.program import Layer, Program
from trainshed.workloads.board.target.protocol import Firmware

Tree = dict[str, Any]
RUNTIME_SOURCES = ("start.c", "main.c", "models.c", "semihost.h")
#: Variables of those, by name: the debug information has only functions.
RUNTIME_OBJECTS = re.compile(
    r"vectors|models|n_models|(input|output|inspect)_file|n_sets|n_inferences|line(\.\d+)?"
)
MODEL_TABLES = ("ticks", "model", "layers", "inputs", "outputs", "results")
UNNAMED = "(no symbol)"
LIBRARY = "libc"


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    address: int
    size: int
    is_code: bool


@dataclass(slots=True)
class _Node:
    name: str
    identifier: str
    own: int = 0
    children: dict[str, _Node] = field(default_factory=dict)

    def add(self, path: Iterable[str], size: int) -> None:
        node = self
        for part in path:
            below = f"{node.identifier}/{part}"
            node = node.children.setdefault(part, _Node(part, below))
        node.own += size

    def size(self) -> int:
        return self.own + sum(child.size() for child in self.children.values())

    def to_tree(self) -> Tree:
        children = [child.to_tree() for child in self.children.values()]
        if children and self.own:
            own = {"name": self.name, "identifier": f"{self.identifier}/.", "size": self.own}
            children.append(own)
        tree: Tree = {"name": self.name, "identifier": self.identifier, "size": self.size()}
        if children:
            tree["children"] = sorted(children, key=lambda c: (-c["size"], c["name"]))
        return tree


def memory_trees(firmware: Firmware, program: Program) -> tuple[Tree, Tree]:
    """Return the trees of RAM and of ROM.

    Raises:
        ValueError: the firmware has no symbols.
    """
    with firmware.elf.open("rb") as file:
        elf = ELFFile(file)
        symbols = _symbols(elf)
        files = _files_of_functions(elf)
        sections = [s for s in elf.iter_sections() if s["sh_flags"] & SH_FLAGS.SHF_ALLOC]
        sections = [s for s in sections if s["sh_size"]]
    named = _Places(program, files)
    ram, rom = _Node("Root", "root"), _Node("Root", "root")
    for section in sections:
        writable = bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE)
        if not writable:
            _fill(rom, section, symbols, named)
        else:
            _fill(ram, section, symbols, named)
            if section["sh_type"] != "SHT_NOBITS":
                rom.add(("initial values of variables",), section["sh_size"])
    return _whole(ram), _whole(rom)


def weight_bytes(program: Program, rom: Tree) -> Mapping[str, int]:
    """Return layer symbol -> bytes of its constants in the firmware, from the ROM tree."""
    found: dict[str, int] = {layer.symbol: 0 for layer in program.layers}
    for node in _walk(rom["symbols"]):
        parts = node["identifier"].split("/")
        if parts[1:3] == ["model", "weights"] and len(parts) == 4 and parts[3] in found:
            found[parts[3]] = node["size"]
    return found


def _walk(node: Tree) -> Iterator[Tree]:
    yield node
    for child in node.get("children", ()):
        yield from _walk(child)


def _whole(root: _Node) -> Tree:
    return {"symbols": root.to_tree(), "total_size": root.size()}


def _fill(root: _Node, section: Section, symbols: list[_Symbol], places: _Places) -> None:
    """Put each byte of the section under a name; overlapping symbols count once."""
    start, end = section["sh_addr"], section["sh_addr"] + section["sh_size"]
    if section.name == ".stack":
        root.add(("stack",), end - start)
        return
    at, unnamed = start, 0
    for symbol in symbols:
        first, last = max(symbol.address, at), min(symbol.address + symbol.size, end)
        if symbol.address < start or first >= last:
            continue
        unnamed += first - at
        root.add(places.of(symbol), last - first)
        at = last
    unnamed += end - at
    if unnamed:
        root.add((UNNAMED,), unnamed)


class _Places:
    """Where in a tree a symbol belongs."""

    def __init__(self, program: Program, files: Mapping[int, str]) -> None:
        self._files = files
        self._sources = set(program.sources)
        self._layers = {layer.symbol for layer in program.layers}
        self._weights = {name: layer for layer in program.layers for name in layer.weight_symbols}

    def of(self, symbol: _Symbol) -> tuple[str, ...]:
        layer: Layer | None = self._weights.get(symbol.name)
        if layer is not None:
            return ("model", "weights", layer.symbol, symbol.name)
        if symbol.name.partition(".")[0] in self._layers:
            return ("model", "layers", symbol.name)
        if symbol.name == "arena":
            return ("arena",)
        if symbol.name in MODEL_TABLES:
            return ("model", "tables", symbol.name)
        if RUNTIME_OBJECTS.fullmatch(symbol.name):
            return ("startup", symbol.name)
        source = PurePosixPath(self._files.get(symbol.address, "")).name
        if source in RUNTIME_SOURCES:
            return ("startup", source, symbol.name)
        if source in self._sources:
            return ("kernels", source, symbol.name)
        return (LIBRARY, symbol.name)


def _symbols(elf: ELFFile) -> list[_Symbol]:
    """Functions and objects by address, of several at one address the largest first."""
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        raise ValueError("The firmware has no symbols.")
    found = []
    for symbol in table.iter_symbols():
        kind = symbol["st_info"]["type"]
        if kind in ("STT_FUNC", "STT_OBJECT") and symbol["st_size"]:
            code = kind == "STT_FUNC"
            address = symbol["st_value"] & ~1 if code else symbol["st_value"]
            found.append(_Symbol(symbol.name, address, symbol["st_size"], code))
    return sorted(found, key=lambda s: (s.address, -s.size, s.name))


def _files_of_functions(elf: ELFFile) -> Mapping[int, str]:
    """Address of a function -> the file that declares it, from the debug information."""
    files: dict[int, str] = {}
    if not elf.has_dwarf_info():
        return files
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        top = unit.get_top_DIE()
        lines = dwarf.line_program_for_CU(unit)
        names = [_text(e.name) for e in lines["file_entry"]] if lines else []
        first = 0 if lines and lines["version"] >= 5 else 1
        for entry in top.iter_children():
            if entry.tag != "DW_TAG_subprogram" or "DW_AT_low_pc" not in entry.attributes:
                continue
            number = _declared_in(entry)
            known = number is not None and 0 <= number - first < len(names)
            own = _text(top.attributes["DW_AT_name"].value)
            files[entry.attributes["DW_AT_low_pc"].value & ~1] = (
                names[number - first] if known and number is not None else own
            )
    return files


def _declared_in(entry: Any) -> int | None:
    """The number of the declaring file; an outlined copy refers to its origin."""
    while "DW_AT_decl_file" not in entry.attributes:
        if "DW_AT_abstract_origin" not in entry.attributes:
            return None
        entry = entry.get_DIE_from_attribute("DW_AT_abstract_origin")
    return int(entry.attributes["DW_AT_decl_file"].value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
