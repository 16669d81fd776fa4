"""A board's file to a ``Board``; whatever is wrong is named by its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainshed.domain.board import Board, Core, Memory, Power, Timing, Wiring
from trainshed.workloads.board.facts.cores import CORES, MODEL_VERSION, CoreFacts

NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,62}")
#: Stack and runtime when a file does not say.
RESERVED_RAM_BYTES = 16 * 1024
BASES = ("datasheet", "published measurement")
#: Facts whose source each file must give.
SOURCED = ("core", "memory", "timing", "power")
_TOP = (
    "title",
    "variant",
    "core",
    "clock_hz",
    "notes",
    "memory",
    "timing",
    "power",
    "sources",
    "wiring",
)
_MISSING = object()


class BadFacts(ValueError):
    """A board's file is wrong; the text names the key and what it must be."""


class _Table:
    """A TOML table that names its keys in errors and refuses keys nobody reads."""

    def __init__(self, values: object, path: str, known: tuple[str, ...]) -> None:
        if not isinstance(values, dict):
            raise BadFacts(f"{path.rstrip('.') or 'the file'} must be a table.")
        self._values: Mapping[str, Any] = values
        self._path = path
        for key in values:
            if key not in known:
                raise BadFacts(f"{path}{key} is not a fact; there is: {', '.join(known)}.")

    def table(self, key: str, *known: str) -> _Table:
        return _Table(self._values.get(key, {}), f"{self._path}{key}.", known)

    def text(self, key: str, default: object = _MISSING) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or (default is _MISSING and not value.strip()):
            raise BadFacts(f"{self._path}{key} must be text.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise BadFacts(f"{self._path}{key} must be a list of texts.")
        return tuple(value)

    def has(self, key: str) -> bool:
        return key in self._values

    def pairs(self, key: str) -> tuple[tuple[int, int], ...]:
        value = self._get(key, [])
        words = [one for one in value if _is_pair_of_words(one)] if isinstance(value, list) else []
        if not isinstance(value, list) or len(words) != len(value):
            raise BadFacts(f"{self._path}{key} must be a list of pairs of 32-bit numbers.")
        return tuple((one[0], one[1]) for one in words)

    def whole(self, key: str, least: int, default: object = _MISSING) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadFacts(f"{self._path}{key} must be a whole number of at least {least}.")
        return value

    def number(self, key: str, least: float, most: float, default: object = _MISSING) -> float:
        value = self._get(key, default)
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        if not fine or not least <= value <= most:
            raise BadFacts(f"{self._path}{key} must be a number from {least:g} to {most:g}.")
        return float(value)

    def _get(self, key: str, default: object) -> Any:
        value = self._values.get(key, default)
        if value is _MISSING:
            raise BadFacts(f"{self._path}{key} is missing.")
        return value


def read_board(name: str, facts: object) -> Board:
    """Return the board that ``facts``, a parsed file, describes.

    Raises:
        BadFacts: names the key and what it must be.
    """
    if not NAME.fullmatch(name):
        raise BadFacts("the name must be small letters, digits and underscores.")
    top = _Table(facts, "", _TOP)
    core_name = top.text("core")
    if core_name not in CORES:
        raise BadFacts(f"core must be one of {', '.join(CORES)}.")
    core = CORES[core_name]
    memory = top.table("memory", "flash_bytes", "ram_bytes", "reserved_ram_bytes")
    sizes = Memory(memory.whole("flash_bytes", 1), memory.whole("ram_bytes", 1))
    reserved = memory.whole("reserved_ram_bytes", 0, RESERVED_RAM_BYTES)
    if reserved >= sizes.ram_bytes:
        raise BadFacts("memory.reserved_ram_bytes must be less than memory.ram_bytes.")
    sources = top.table("sources", *SOURCED)
    return Board(
        name=name,
        title=top.text("title"),
        variant=top.text("variant"),
        core=Core(core_name, top.whole("clock_hz", 1), core.dsp, core.fpu),
        memory=sizes,
        timing=_timing(top, core),
        power=_power(top),
        machine=core.machine,
        reserved_ram_bytes=reserved,
        notes=top.texts("notes"),
        sources={key: sources.text(key) for key in SOURCED},
        wiring=_wiring(top) if top.has("wiring") else None,
    )


def _timing(top: _Table, core: CoreFacts) -> Timing:
    table = top.table("timing", "flash_line_bytes", "wait_states", "band", "calibration")
    fit = table.table("calibration", "factor", "engine", "models", "unfitted_ms", "rows")
    factor = fit.number("factor", 0.05, 20.0, core.factor)
    engine, models = fit.text("engine", ""), fit.texts("models")
    if engine and not (models and fit.texts("rows")):
        raise BadFacts("timing.calibration.engine needs models and rows: what it was fitted to.")
    if not engine and factor != core.factor:
        raise BadFacts("timing.calibration.factor needs engine, models and rows.")
    return Timing(
        cpi=dict(core.cpi),
        flash_line_bytes=table.whole("flash_line_bytes", 1),
        wait_states=table.number("wait_states", 0.0, 1000.0),
        factor=factor,
        band=table.number("band", 0.01, 10.0, core.band),
        calibrated_on=models,
        engine=engine,
        version=MODEL_VERSION,
    )


def _power(top: _Table) -> Power:
    table = top.table("power", "voltage_mv", "active_ua", "sleep_ua", "band", "basis")
    basis = table.text("basis")
    if basis not in BASES:
        raise BadFacts(f"power.basis must be one of {', '.join(BASES)}.")
    return Power(
        voltage_mv=table.whole("voltage_mv", 1),
        active_ua=table.number("active_ua", 0.1, 10e6),
        sleep_ua=table.number("sleep_ua", 0.0, 10e6),
        band=table.number("band", 0.01, 10.0),
        basis=basis,
    )


def _wiring(top: _Table) -> Wiring:
    table = top.table(
        "wiring", "target", "pack", "flash_origin", "ram_origin", "pin", "pin_mask", "pin_set",
        "pin_clear", "setup", "source",
    )  # fmt: skip
    return Wiring(
        target=table.text("target"),
        pack=table.text("pack", ""),
        flash_origin=table.whole("flash_origin", 0),
        ram_origin=table.whole("ram_origin", 0),
        pin=table.text("pin"),
        pin_mask=table.whole("pin_mask", 1),
        pin_set=table.whole("pin_set", 0),
        pin_clear=table.whole("pin_clear", 0),
        setup=table.pairs("setup"),
        source=table.text("source"),
    )


def _is_pair_of_words(one: object) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 2
        and all(type(word) is int and 0 <= word < 2**32 for word in one)
    )
