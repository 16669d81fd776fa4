"""Several models on several boards: one table, one figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimaas.client import MIMaaSClient
from mimaas.exceptions import MIMaaSError
from mimaas.models import Results

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_COLUMNS = ("Model", "Board", "Time (ms)", "Energy (µJ)", "Power (µW)", "RAM (KB)", "Flash (KB)")
_FIGURES = len(_COLUMNS) - 2


@dataclass(frozen=True)
class Cell:
    """One model on one board: ``results``, or the ``error`` that there is instead."""

    model: str
    board: str
    request_id: int | None = None
    results: Results | None = None
    error: str | None = None

    def figures(self) -> tuple[float, ...]:
        """Return ms, µJ, µW, KB of RAM and KB of flash; nothing where there is an error."""
        found = self.results
        if found is None:
            return ()
        return (
            found.inference_time_ms,
            found.avg_energy_uJ,
            found.avg_power_uW,
            found.ram_usage_kb,
            found.rom_usage_kb,
        )


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found, a cell for each pair; prints as a table."""

    cells: tuple[Cell, ...]

    def __str__(self) -> str:
        rows = [list(_COLUMNS)]
        for cell in self.cells:
            shown = [f"{number:.2f}" for number in cell.figures()]
            rows.append([cell.model, cell.board, *(shown or _said(cell))])
        width = [max(len(row[n]) for row in rows if n < len(row)) for n in range(2)]
        width += [
            max(len(row[n]) for row in rows if len(row) == len(_COLUMNS))
            for n in range(2, len(_COLUMNS))
        ]
        rows.insert(1, ["-" * n for n in width])
        return "\n".join(_line(row, width) for row in rows)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the table as a pandas DataFrame, with the request's id and the error as columns.

        Needs the extra ``viz``.
        """
        import pandas as pd

        empty = (None,) * _FIGURES
        rows: list[tuple[Any, ...]] = [
            (cell.model, cell.board, *(cell.figures() or empty), cell.request_id, cell.error)
            for cell in self.cells
        ]
        return pd.DataFrame(rows, columns=[*_COLUMNS, "Request", "Error"])

    def figure(self) -> go.Figure:
        """Return time, energy, RAM and flash side by side. Needs the extra ``viz``."""
        from mimaas.viz import plot_comparison

        return plot_comparison(self)


def compare(
    models: Iterable[str | Path],
    boards: Iterable[str],
    *,
    client: MIMaaSClient | None = None,
    quantize: bool = False,
    timeout: float = 600,
    poll_interval: float = 5,
) -> Comparison:
    """Submit each model for each board, wait for all, and return what came of it.

    Every pair takes a run. What fails is told in its own cell and stops nothing else.

    Args:
        models: The ``.tflite`` files.
        boards: The names of the boards.
        client: Who submits; a new ``MIMaaSClient()`` if None.
        quantize: Whether to make float models int8 first.
        timeout: Seconds to wait for each request at most.
        poll_interval: Seconds between two looks at a request.
    """
    names = list(boards)
    pairs = [(Path(model), board) for model in models for board in names]
    if client is not None:
        return _compare(client, pairs, quantize, timeout, poll_interval)
    with MIMaaSClient() as own:
        return _compare(own, pairs, quantize, timeout, poll_interval)


def _compare(
    client: MIMaaSClient,
    pairs: list[tuple[Path, str]],
    quantize: bool,
    timeout: float,
    poll_interval: float,
) -> Comparison:
    submitted = [_submitted(client, model, board, quantize) for model, board in pairs]
    return Comparison(tuple(_ended(client, cell, timeout, poll_interval) for cell in submitted))


def _submitted(client: MIMaaSClient, model: Path, board: str, quantize: bool) -> Cell:
    try:
        request = client.submit_request(model, board, quantize)
    except (MIMaaSError, OSError) as error:
        return Cell(model.stem, board, error=str(error))
    return Cell(model.stem, board, request.id)


def _ended(client: MIMaaSClient, cell: Cell, timeout: float, poll_interval: float) -> Cell:
    if cell.request_id is None:
        return cell
    try:
        results = client.wait_for_completion(cell.request_id, timeout, poll_interval)
    except MIMaaSError as error:
        return Cell(cell.model, cell.board, cell.request_id, error=str(error))
    return Cell(cell.model, cell.board, cell.request_id, results)


def _said(cell: Cell) -> list[str]:
    """Return the one cell that an error takes, on one line."""
    return [f"error: {' '.join((cell.error or 'no results').split())}"]


def _line(row: list[str], width: list[int]) -> str:
    left = [text.ljust(n) for text, n in zip(row[:2], width, strict=False)]
    right = [text.rjust(n) for text, n in zip(row[2:], width[2:], strict=False)]
    return "  ".join(left + right).rstrip()
