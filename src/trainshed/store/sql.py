"""SQL text from the tables' own column names, written once for both engines with ``?`` for
values.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Table


def marks(n: int) -> str:
    """Return ``?, ?, …`` of ``n`` places."""
    return ", ".join("?" * n)


def insert(table: Table, skip: tuple[str, ...] = (), tail: str = "") -> str:
    """Return an INSERT of all columns, in the table's order, but those of ``skip``."""
    names = [c.name for c in table.columns if c.name not in skip]
    return " ".join(
        ("INSERT INTO", table.name, f"({', '.join(names)})", f"VALUES ({marks(len(names))})", tail)
    )


def columns(table: Table, alias: str = "") -> str:
    """Return all column names, in the table's order."""
    dot = f"{alias}." if alias else ""
    return ", ".join(dot + c.name for c in table.columns)


def select(table: Table, *tail: str) -> str:
    """Return a SELECT of all columns."""
    return " ".join(("SELECT", columns(table), "FROM", table.name, *tail))


def update(table: Table, names: Iterable[str], *tail: str) -> str:
    """Return an UPDATE of the columns ``names``."""
    pairs = ", ".join(f"{name} = ?" for name in names)
    return " ".join(("UPDATE", table.name, "SET", pairs, *tail))


def inside(column: str, n: int) -> str:
    """Return ``column IN (?, …)``."""
    return f"{column} IN ({marks(n)})"
