"""Models and boards side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mimaas.viz.style import colour, dress

if TYPE_CHECKING:
    from mimaas.comparison import Comparison

#: Title and unit, and which of a cell's figures it is.
_PANELS = (
    ("Inference time", "ms", 0),
    ("Energy per inference", "µJ", 1),
    ("RAM", "KB", 3),
    ("Flash", "KB", 4),
)
#: With more bars than this the numbers beside them cannot be read.
_MOST_LABELS = 30


def plot_comparison(comparison: Comparison) -> go.Figure:
    """Return time, energy, RAM and flash of each model on each board; errors are named below."""
    models = list(dict.fromkeys(cell.model for cell in comparison.cells))
    boards = list(dict.fromkeys(cell.board for cell in comparison.cells))
    figure = make_subplots(
        rows=2,
        cols=2,
        shared_yaxes=True,
        vertical_spacing=0.16,
        horizontal_spacing=0.06,
        subplot_titles=[title for title, _, _ in _PANELS],
    )
    for n, (_, unit, index) in enumerate(_PANELS):
        row, column = n // 2 + 1, n % 2 + 1
        for number, model in enumerate(models):
            figure.add_trace(
                _bars(comparison, model, number, unit, index, first=n == 0), row=row, col=column
            )
        most = max((c.figures()[index] for c in comparison.cells if c.results), default=1.0)
        figure.update_xaxes(title_text=unit, range=[0, most * 1.2 or 1], row=row, col=column)
    errors = [cell for cell in comparison.cells if cell.error]
    subtitle = f"{len(models)} models on {len(boards)} boards"
    if errors:
        shown = ", ".join(f"{cell.model} on {cell.board}" for cell in errors[:4])
        more = f" and {len(errors) - 4} more" if len(errors) > 4 else ""
        subtitle += f" · without results: {shown}{more}"
    height = 300 + 2 * max(160, 26 * len(boards) * max(1, len(models)))
    dress(figure, "Models on boards", subtitle, height=height)
    figure.update_layout(
        barmode="group",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.04, "yanchor": "bottom"},
        margin={"l": 150},
    )
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=boards)
    return figure


def _bars(
    comparison: Comparison, model: str, number: int, unit: str, index: int, *, first: bool
) -> go.Bar:
    cells = [c for c in comparison.cells if c.model == model and c.results]
    figures = [cell.figures()[index] for cell in cells]
    labelled = len(comparison.cells) <= _MOST_LABELS
    return go.Bar(
        x=figures,
        y=[cell.board for cell in cells],
        orientation="h",
        name=model,
        legendgroup=model,
        showlegend=first,
        marker={"color": colour(number)},
        text=[_number(figure) for figure in figures] if labelled else None,
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"{model} on %{{y}}: %{{x:,.2f}} {unit}<extra></extra>",
    )


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"
