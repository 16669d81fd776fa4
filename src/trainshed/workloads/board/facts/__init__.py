"""The boards, a file each: adding a board is adding ``<name>.toml`` here.

**Invariant:** every fact has its source; a file with a fault names the fault and stops the start.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from trainshed.domain.board import Board
from trainshed.workloads.board.facts.reading import BadFacts, read_board

__all__ = ["BadFacts", "boards", "read_folder"]


@lru_cache(maxsize=1)
def boards() -> Mapping[str, Board]:
    """Return all shipped boards by name, in alphabetical order.

    Raises:
        BadFacts: a file is wrong; the text names the file, the key and what it must be.
    """
    return MappingProxyType(dict(read_folder(Path(__file__).parent)))


def read_folder(folder: Path) -> Mapping[str, Board]:
    """Return the boards of a folder; the name of a board is the stem of its file."""
    return {path.stem: _read(path) for path in sorted(folder.glob("*.toml"))}


def _read(path: Path) -> Board:
    try:
        return read_board(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except (BadFacts, ValueError) as error:
        raise BadFacts(f"{path.name}: {error}") from error
