"""Nothing in the domain or the ports reads a clock (law 1); imports are .importlinter's matter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = {"now", "today", "utcnow", "monotonic", "perf_counter"}
FILES = sorted(
    path for room in ("domain", "ports") for path in (ROOT / "src/trainshed" / room).rglob("*.py")
)


def clock_reads(source: str) -> list[int]:
    """The lines that call a clock by attribute: `datetime.now(...)`, `date.today()`."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_clock_is_read(path: Path) -> None:
    assert clock_reads(path.read_text()) == []


def test_a_clock_would_be_found() -> None:
    assert clock_reads("from datetime import datetime\n\nx = datetime.now(UTC)\n") == [3]
