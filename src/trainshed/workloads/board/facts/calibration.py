"""What an installation has measured on boards of its own: a file a board, ``<board>.json``.

It stands in place of the factor that ships with the board, for every later estimate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trainshed.domain.board import Board

#: How far other models of the same board and kernels were from a factor fitted to one of them.
BAND = 0.20
MAX_BYTES = 4096
#: The name, less ``.json``, of a calibration among the files of a measured run.
MEASURED = "calibration"
#: A factor outside is no property of a board.
LEAST, MOST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The factor that gives one measured time. ``model``: `shape_digest` of what was measured;
    ``date``: ISO; ``version``: of the timing model, whose factors fit no other.
    """

    board: str
    factor: float
    model: str
    date: str
    version: str
    measured_s: float

    @classmethod
    def of(cls, values: object) -> Calibration:
        """Return the calibration in parsed JSON.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(values, dict) or set(values) != set(cls.__slots__):
            raise ValueError(f"a calibration has the keys {', '.join(cls.__slots__)}.")
        words: Mapping[str, Any] = values
        for name in ("board", "model", "date", "version"):
            if not isinstance(words[name], str) or len(words[name]) > 100:
                raise ValueError(f"{name} must be short text.")
        for name in ("factor", "measured_s"):
            if isinstance(words[name], bool) or not isinstance(words[name], int | float):
                raise ValueError(f"{name} must be a number.")
        if not LEAST <= words["factor"] <= MOST or not math.isfinite(words["measured_s"]):
            raise ValueError(f"factor must be from {LEAST} to {MOST}.")
        return cls(**words)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``of`` reads."""
        return asdict(self)


def apply(board: Board, found: Calibration | None) -> Board:
    """Return the board with its measured factor; as it is, if that is of another model version."""
    if found is None or found.board != board.name or found.version != board.timing.version:
        return board
    timing = replace(
        board.timing, factor=found.factor, band=BAND, calibrated_on=(found.model,), engine="",
        measured_on=found.date,
    )  # fmt: skip
    note = (
        f"The factor of its times, {found.factor:.4g}, was measured here on {found.date} with the "
        f"model {found.model[:12]}."
    )
    return replace(board, timing=timing, notes=(*board.notes, note))


def read(folder: Path, name: str) -> Calibration | None:
    """Return what ``<name>.json`` says, the name being that of a board; None for no file.

    Raises:
        ValueError: the file is wrong; the text names it.
    """
    path = folder / f"{name}.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        return Calibration.of(json.loads(data))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write(folder: Path, found: Calibration, name: str = "") -> Path:
    """Keep a calibration under its board's or another name, whole or not; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or found.board}.json"
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    return scratch.replace(path)
