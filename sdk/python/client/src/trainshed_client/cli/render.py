"""Tables, amounts, times and curves as text. Words of strangers pass ``plain`` and no markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from trainshed_client.cli.safe_text import plain

STATES = {
    "QUEUED": "yellow",
    "RUNNING": "cyan",
    "PAUSED": "magenta",
    "CANCELLING": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "bright_black",
    "EVICTED": "magenta",
    "LOST": "red",
}
#: The kind, as in ``job_``, and eight digits.
_ID_SHOWN = 12
_BARS = "▁▂▃▄▅▆▇█"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def console(file: IO[str] | None = None) -> Console:
    """Return a console that takes no markup from text and no colour unless on a terminal.

    Where nobody watches, nothing is cut to a width.
    """
    out = file or sys.stdout
    width = None if out.isatty() else 240
    return Console(file=out, markup=False, emoji=False, highlight=False, width=width)


def show(what: RenderableType) -> None:
    """Print on standard output."""
    console().print(what)


def cell(value: Any, style: str = "") -> Text:
    """Return a value as safe text; None is a dash."""
    return Text("–" if value is None else plain(value), style)


def state(value: str | None) -> Text:
    """Return a state in its colour."""
    return cell(value, STATES.get(value or "", ""))


def ident(value: str) -> str:
    """Return an id, on a terminal only as much of it as every command takes.

    Elsewhere, where a program may cut it out of the line, it is whole.
    """
    return value[:_ID_SHOWN] if sys.stdout.isatty() else value


def files(n: int) -> str:
    """Return a number of files."""
    return f"{n} file" if n == 1 else f"{n:,} files"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", cut: Sequence[str] = ()
) -> Table:
    """Return a plain table; a ``Text`` goes in as it is, any other value through ``cell``.

    With ``cut`` each row is one line: where the terminal is too narrow, those columns give way.
    """
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for head in heads:
        whole = bool(cut) and head not in cut
        made.add_column(head, overflow="fold", no_wrap=whole)
    for row in rows:
        cells = [value if isinstance(value, Text) else cell(value) for value in row]
        for head, text in zip(heads, cells, strict=True):
            if head in cut:
                text.no_wrap, text.overflow = True, "ellipsis"
        made.add_row(*cells)
    return made


def size(n_bytes: float | None) -> str:
    """Return bytes as people read them."""
    if n_bytes is None:
        return "–"
    value, unit = float(n_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def credits(ucredits: int | None) -> str:
    """Return micro-credits as credits, exactly."""
    if ucredits is None:
        return "–"
    whole, part = divmod(abs(ucredits), 10**6)
    digits = f"{part:06d}".rstrip("0")
    return f"{'-' if ucredits < 0 else ''}{whole:,}{'.' + digits if digits else ''}"


def when(at: datetime | None) -> str:
    """Return a time in the reader's zone; the date only if it is not today."""
    if at is None:
        return "–"
    local = at.astimezone()
    today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def lasted(seconds: float | None) -> str:
    """Return a duration as people read it."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from ``start`` to ``end``, None if either is open."""
    return (end - start).total_seconds() if start and end else None


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Return ``values`` as a row of bars, thinned to ``width`` by means; "" if there are none."""
    if not values:
        return ""
    n = min(width, len(values))
    edges = [len(values) * i // n for i in range(n + 1)]
    pairs = pairwise(edges)
    means = [sum(values[a:b]) / (b - a) for a, b in pairs]
    low, high = min(means), max(means)
    span = high - low
    if not span > 0:
        return _BARS[3] * n
    return "".join(_BARS[min(7, int((value - low) / span * 8))] for value in means)
