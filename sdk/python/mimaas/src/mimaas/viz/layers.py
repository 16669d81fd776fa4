"""Where the time of an inference goes, layer by layer."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from mimaas.viz.style import File, colour, dress, read_json, source_text

_MOST_LABELS = 60
#: What is told of a layer on hovering, and in which words.
_COUNTS = {
    "instructions": "instructions",
    "macs": "multiply-accumulates",
    "instructions_per_mac": "instructions per multiply-accumulate",
    "weight_bytes": "bytes of weights",
    "output_bytes": "bytes of output",
}


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
    whole = _object(found, "total")
    total = float(whole.get("time_s") or sum(row["time_s"] for row in rows)) * 1000 or 1.0
    names = [row["symbol"] for row in rows]
    labelled = len(rows) <= _MOST_LABELS
    figure = go.Figure()
    for number, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        mine = [row for row in rows if row["kind"] == kind]
        figure.add_trace(_bars(kind, mine, total, number, labelled=labelled))
    slowest = max(rows, key=lambda row: float(row["time_s"]))
    between = _object(found, "overhead").get("time_s") or 0.0
    subtitle = (
        f"{total:,.4g} ms{_band(whole)} in {len(rows)} layers · slowest: {slowest['symbol']},"
        f" {slowest['time_s'] * 1000 / total:.0%} · between layers {between * 1000 / total:.1%}"
    )
    sources = [whole["source"]] if isinstance(whole.get("source"), str) else []
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
        and isinstance(row.get("symbol"), str)
        and isinstance(row.get("kind"), str)
        and type(row.get("time_s")) in (int, float)
    )


def _object(found: dict[str, Any], name: str) -> dict[str, Any]:
    inner = found.get(name)
    return inner if isinstance(inner, dict) else {}


def _band(whole: dict[str, Any]) -> str:
    band = whole.get("band")
    return f" ± {band:.0%}" if isinstance(band, int | float) and band else ""


def _bars(
    kind: str, rows: list[dict[str, Any]], total: float, number: int, *, labelled: bool
) -> go.Bar:
    return go.Bar(
        x=[row["time_s"] * 1000 for row in rows],
        y=[row["symbol"] for row in rows],
        orientation="h",
        name=kind,
        showlegend=True,
        marker={"color": colour(number)},
        text=[f"{row['time_s'] * 1000 / total:.1%}" for row in rows] if labelled else None,
        textposition="outside",
        cliponaxis=False,
        customdata=[_told(row) for row in rows],
        hovertemplate="<b>%{y}</b><br>%{x:,.4g} ms%{customdata}<extra></extra>",
    )


def _told(row: dict[str, Any]) -> str:
    """Return the counts of a layer, a line each."""
    known = {word: row.get(key) for key, word in _COUNTS.items()}
    counts = {word: n for word, n in known.items() if type(n) in (int, float)}
    return "".join(f"<br>{n:,.4g} {word}" for word, n in counts.items())
