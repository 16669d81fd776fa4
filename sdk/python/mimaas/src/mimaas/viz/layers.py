"""Where the time of an inference goes, layer by layer."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from mimaas.viz.style import File, colour, dress, read_json, source_text

_MOST_LABELS = 60


def plot_layer_latency(layers: File) -> go.Figure:
    """Return a bar a layer from ``layers.json``, in the order in which they run.

    The colour is the kind of operator; the rest of what is known of a layer shows on hovering.

    Raises:
        ValueError: it is no such report.
    """
    found = read_json(layers)
    rows = found.get("layers") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not rows or not all(_is_layer(row) for row in rows):
        raise ValueError("This is no report of layers: there is no list 'layers' with times.")
    total = sum(row["time_ms"] for row in rows) or 1.0
    names = [f"{n}  {row['name']}" for n, row in enumerate(rows)]
    figure = go.Figure()
    for number, kind in enumerate(dict.fromkeys(row["operator"] for row in rows)):
        mine = [
            (name, row) for name, row in zip(names, rows, strict=True) if row["operator"] == kind
        ]
        figure.add_trace(_bars(kind, mine, total, number, labelled=len(rows) <= _MOST_LABELS))
    slowest = max(rows, key=lambda row: float(row["time_ms"]))
    subtitle = (
        f"{sum(row['time_ms'] for row in rows):,.3g} ms in {len(rows)} layers · slowest: "
        f"{slowest['name']}, {slowest['time_ms'] / total:.0%}{_band(found)}"
    )
    sources = [found["source"]] if isinstance(found.get("source"), str) else []
    title = f"Time per layer ({source_text(sources)})"
    dress(figure, title, subtitle, height=max(420, 190 + 24 * len(rows)))
    figure.update_layout(
        barmode="overlay",
        bargap=0.25,
        legend={"title": {"text": "Operator"}, "x": 1.05, "xanchor": "left", "y": 1},
        margin={"r": 230},
    )
    figure.update_xaxes(title_text="Time (ms)", rangemode="tozero")
    figure.update_yaxes(categoryorder="array", categoryarray=names, autorange="reversed")
    figure.update_yaxes(automargin=True, ticksuffix="  ")
    return figure


def _is_layer(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("name"), str)
        and isinstance(row.get("operator"), str)
        and type(row.get("time_ms")) in (int, float)
    )


def _band(found: dict[str, Any]) -> str:
    band = found.get("band")
    return f" · ± {band:.0%}" if isinstance(band, int | float) and band else ""


def _bars(
    kind: str, rows: list[tuple[str, dict[str, Any]]], total: float, number: int, *, labelled: bool
) -> go.Bar:
    return go.Bar(
        x=[row["time_ms"] for _, row in rows],
        y=[name for name, _ in rows],
        orientation="h",
        name=kind,
        showlegend=True,
        marker={"color": colour(number)},
        text=[f"{row['time_ms'] / total:.1%}" for _, row in rows] if labelled else None,
        textposition="outside",
        cliponaxis=False,
        customdata=[_told(row) for _, row in rows],
        hovertemplate="<b>%{y}</b><br>%{x:,.4g} ms%{customdata}<extra></extra>",
    )


def _told(row: dict[str, Any]) -> str:
    """Return the counts of a layer, a line each."""
    known = {k: v for k, v in row.items() if type(v) in (int, float) and k != "time_ms"}
    return "".join(f"<br>{name}: {number:,.6g}" for name, number in known.items())
