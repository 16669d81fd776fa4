"""Models and boards side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mimaas.viz.style import colour, dress, source_text

if TYPE_CHECKING:
    from mimaas.comparison import Comparison

#: Title and unit, and the column that it is.
_PANELS = (
    ("Inference time", "ms", "Time (ms)"),
    ("Energy per inference", "µJ", "Energy (µJ)"),
    ("RAM", "KB", "RAM (KB)"),
    ("Flash", "KB", "Flash (KB)"),
)
#: With more bars than this the numbers beside them cannot be read.
_MOST_LABELS = 30
#: Pixels between the two rows of panels, and above and below all.
_BETWEEN, _AROUND = 100, 180


def plot_comparison(comparison: Comparison) -> go.Figure:
    """Return time, energy, RAM and flash of each model on each board; errors are named below."""
    models = list(dict.fromkeys(cell.model for cell in comparison.cells))
    boards = list(dict.fromkeys(cell.board for cell in comparison.cells))
    panel = max(160, 26 * len(boards) * max(1, len(models)))
    figure = make_subplots(
        rows=2,
        cols=2,
        shared_yaxes=True,
        vertical_spacing=_BETWEEN / (2 * panel + _BETWEEN),
        horizontal_spacing=0.06,
        subplot_titles=[title for title, _, _ in _PANELS],
    )
    for n, (_, unit, name) in enumerate(_PANELS):
        row, column = n // 2 + 1, n % 2 + 1
        for number, model in enumerate(models):
            figure.add_trace(
                _bars(comparison, model, number, unit, name, first=n == 0), row=row, col=column
            )
        most = max((c.figures()[name] for c in comparison.cells if c.results), default=1.0)
        figure.update_xaxes(title_text=unit, range=[0, most * 1.3 or 1], row=row, col=column)
    errors = [cell for cell in comparison.cells if cell.error]
    subtitle = f"{_count(models, 'model')} on {_count(boards, 'board')}"
    if errors:
        shown = ", ".join(f"{cell.model} on {cell.board}" for cell in errors[:4])
        more = f" and {len(errors) - 4} more" if len(errors) > 4 else ""
        subtitle += f" · without results: {shown}{more}"
    sources = dict.fromkeys(cell.source for cell in comparison.cells if cell.source)
    title = f"Models on boards ({source_text(list(sources))})"
    dress(figure, title, subtitle, height=2 * panel + _BETWEEN + _AROUND)
    figure.update_layout(
        barmode="group",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.04, "yanchor": "bottom"},
        margin={"l": 150},
    )
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=boards)
    return figure


def _bars(
    comparison: Comparison, model: str, number: int, unit: str, column: str, *, first: bool
) -> go.Bar:
    cells = [c for c in comparison.cells if c.model == model and c.results]
    figures = [cell.figures()[column] for cell in cells]
    bands = [cell.bands.get(column) for cell in cells]
    labelled = len(comparison.cells) <= _MOST_LABELS
    return go.Bar(
        x=figures,
        y=[cell.board for cell in cells],
        orientation="h",
        name=model,
        legendgroup=model,
        showlegend=first,
        marker={"color": colour(number)},
        text=[_text(*pair) for pair in zip(figures, bands, strict=True)] if labelled else None,
        textposition="outside",
        cliponaxis=False,
        customdata=[f" ± {band:.0%}" if band else "" for band in bands],
        hovertemplate=f"{model} on %{{y}}: %{{x:,.2f}} {unit}%{{customdata}}<extra></extra>",
    )


def _text(figure: float, band: float | None) -> str:
    number = f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"
    return f"{number} ±{band:.0%}" if band else number


def _count(found: list[str], word: str) -> str:
    return f"{len(found)} {word}" if len(found) == 1 else f"{len(found)} {word}s"
