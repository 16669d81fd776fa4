"""Several models on several boards: one table, one figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimaas.client import MIMaaSClient
from mimaas.exceptions import MIMaaSError
from mimaas.models import Results

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

#: A column of figures -> what the request's report calls it.
_REPORTED = {
    "Time (ms)": "duration_avg_s",
    "Energy (µJ)": "avg_energy_uJ",
    "Power (µW)": "avg_power_uW",
    "RAM (KB)": "ram_usage",
    "Flash (KB)": "rom_usage",
}


@dataclass(frozen=True)
class Cell:
    """One model on one board: ``results``, or the ``error`` that there is instead.

    ``source`` is where the time comes from: ``measured``, ``emulated`` or ``estimated``. ``bands``:
    column -> the relative error of its figure; none for an exact count.
    """

    model: str
    board: str
    request_id: int | None = None
    results: Results | None = None
    error: str | None = None
    source: str | None = None
    bands: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Return column -> figure; nothing where there is an error."""
        found = self.results
        if found is None:
            return {}
        return {
            "Time (ms)": found.inference_time_ms,
            "Energy (µJ)": found.avg_energy_uJ,
            "Power (µW)": found.avg_power_uW,
            "RAM (KB)": found.ram_usage_kb,
            "Flash (KB)": found.rom_usage_kb,
        }

    def _shown(self) -> list[str]:
        """Return the figures with their bands; one text where there is an error."""
        if self.results is None:
            return [f"error: {' '.join((self.error or 'no results').split())}"]
        texts = [
            f"{figure:.2f}" + (f" ±{self.bands[name]:.0%}" if name in self.bands else "")
            for name, figure in self.figures().items()
        ]
        return [*texts, self.source or "not stated"]


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found, a cell for each pair; prints as a table."""

    cells: tuple[Cell, ...]

    def __str__(self) -> str:
        rows = [["Model", "Board", *_REPORTED, "Source"]]
        rows += [[cell.model, cell.board, *cell._shown()] for cell in self.cells]
        # An error runs on over the columns of figures.
        whole = [row for row in rows if len(row) == len(rows[0])]
        width = [max(len(row[n]) for row in rows) for n in range(2)]
        width += [max(len(row[n]) for row in whole) for n in range(2, len(rows[0]))]
        rows.insert(1, ["-" * n for n in width])
        return "\n".join(_line(row, width) for row in rows)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the table as a pandas DataFrame, with bands, the request's id and the error.

        Needs the extra ``viz``.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for cell in self.cells:
            bands = {f"± {name}": cell.bands.get(name) for name in _REPORTED}
            figures = cell.figures() or dict.fromkeys(_REPORTED)
            about = {"Source": cell.source, "Request": cell.request_id, "Error": cell.error}
            rows.append({"Model": cell.model, "Board": cell.board, **figures, **bands, **about})
        return pd.DataFrame(rows)

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
        return replace(cell, error=str(error))
    source, bands = _provenance(client, cell.request_id)
    return replace(cell, results=results, source=source, bands=bands)


def _provenance(client: MIMaaSClient, request_id: int) -> tuple[str | None, dict[str, float]]:
    """Return where a request's figures come from and their bands, as far as its report tells."""
    try:
        found = client.get_report(request_id).get("figures")
    except MIMaaSError:  # an older server has no report
        return None, {}
    figures = found if isinstance(found, dict) else {}
    told = {k: v for k, v in figures.items() if isinstance(v, dict)}
    bands = {name: told.get(key, {}).get("band") for name, key in _REPORTED.items()}
    source = told.get("duration_avg_s", {}).get("source")
    return (
        source if isinstance(source, str) else None,
        {name: band for name, band in bands.items() if isinstance(band, float) and band > 0},
    )


def _line(row: list[str], width: list[int]) -> str:
    left = [text.ljust(n) for text, n in zip(row[:2], width, strict=False)]
    right = [text.rjust(n) for text, n in zip(row[2:], width[2:], strict=False)]
    return "  ".join(left + right).rstrip()
