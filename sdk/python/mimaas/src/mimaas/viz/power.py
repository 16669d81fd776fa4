"""The current of each inference over time, how it spreads, and how the inferences differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mimaas.viz.style import COLOURS, FAINT, INK, File, dress, source_text

_NEEDED = ("segment_id", "time_ms", "current_uA")
_BINS = 50
_RUNS = COLOURS[5]
_SUMMARY = "ppk2_summary.csv"
_SUPPOSED_V = 3.3
#: More points than this are not seen, but make a page slow.
_MOST_POINTS = 4000


@dataclass(frozen=True)
class _Trace:
    """The samples; ``over_time`` has mean and std of the inferences at each time."""

    samples: pd.DataFrame
    over_time: pd.DataFrame
    segments: tuple[int, ...]
    sources: list[str]

    @property
    def mean(self) -> float:
        return float(self.samples["current_uA"].mean())

    @property
    def std(self) -> float:
        return float(self.samples["current_uA"].std(ddof=0))

    def of(self, segment: int) -> pd.DataFrame:
        return self.samples[self.samples["segment_id"] == segment]


def plot_power_analysis(power_samples_csv: File, voltage_v: float | None = None) -> go.Figure:
    """Return a dashboard of ``ppk2_samples.csv``: a menu shows one inference or all.

    The first row draws the current over time with its mean and a band of one standard deviation,
    the second how the current is distributed and the spread of each inference. The title says
    whether the samples are measured or emulated.

    Args:
        power_samples_csv: With the columns ``segment_id``, ``time_ms`` and ``current_uA``.
        voltage_v: The board's voltage, from which power and energy follow. If absent, what the
            ``ppk2_summary.csv`` of the same run says that lies beside the samples, else 3.3.

    Raises:
        ValueError: a column is missing, or there are no samples.
    """
    trace = _read(power_samples_csv)
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"colspan": 2}, None], [{}, {}]],
        row_heights=[0.56, 0.44],
        vertical_spacing=0.15,
        horizontal_spacing=0.11,
        subplot_titles=(
            "Current over time",
            f"Distribution: mean {trace.mean:,.0f} µA, standard deviation {trace.std:,.0f} µA",
            "Each inference: quartiles, mean and standard deviation",
        ),
    )
    for segment in trace.segments:
        figure.add_trace(_line(trace, segment), row=1, col=1)
    figure.add_trace(_band(trace), row=1, col=1)
    figure.add_trace(_mean(trace), row=1, col=1)
    figure.add_trace(_histogram(trace), row=2, col=1)
    for segment in trace.segments:
        figure.add_trace(_box(trace, segment), row=2, col=2)
    _mark_mean(figure, trace)
    known = _voltage(power_samples_csv, trace) if voltage_v is None else voltage_v
    _dress(figure, trace, known)
    return figure


def _read(file: File) -> _Trace:
    samples = pd.read_csv(file)
    for name in _NEEDED:
        if name not in samples:
            raise ValueError(f"There is no column {name!r}; there is: {list(samples)}.")
    if samples.empty:
        raise ValueError("There are no samples.")
    grouped = samples.groupby("time_ms")["current_uA"]
    over_time = grouped.agg(mean="mean", std=lambda found: found.std(ddof=0)).reset_index()
    sources = list(samples["source"].dropna().unique()) if "source" in samples else []
    segments = tuple(int(n) for n in samples["segment_id"].unique())
    return _Trace(samples, over_time, segments, [str(word) for word in sources])


def _voltage(file: File, trace: _Trace) -> float | None:
    """Return the voltage in the summary beside the samples, if both are of the same run."""
    if hasattr(file, "read"):
        return None
    try:
        summary = pd.read_csv(Path(file).with_name(_SUMMARY))
        current_ua = float(summary["avg_current_uA"].mean())
        same = tuple(summary["segment_id"]) == trace.segments
        if same and abs(current_ua - trace.mean) <= 0.01 * abs(trace.mean):
            return float(summary["voltage_mV"].iloc[0]) / 1000
    except (OSError, KeyError, ValueError, TypeError):
        pass
    return None


def _thin(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the rows that are seen: of each run of neighbours the least and the greatest."""
    if len(frame) <= _MOST_POINTS:
        return frame
    ordered = frame.reset_index(drop=True)
    bucket = ordered.index // -(-len(ordered) * 2 // _MOST_POINTS)
    grouped = ordered.groupby(bucket)[key]
    ends = {0, len(ordered) - 1}
    return ordered.loc[sorted(ends.union(grouped.idxmin(), grouped.idxmax()))]


def _line(trace: _Trace, segment: int) -> go.Scatter:
    found = _thin(trace.of(segment), "current_uA")
    return go.Scatter(
        x=found["time_ms"],
        y=found["current_uA"],
        name=f"Inference {segment}",
        mode="lines",
        line={"color": _RUNS, "width": 0.9},
        opacity=0.35,
        showlegend=False,
        hovertemplate=f"Inference {segment}: %{{y:,.1f}} µA<extra></extra>",
    )


def _band(trace: _Trace) -> go.Scatter:
    found = _thin(trace.over_time, "mean")
    back = found[::-1]
    return go.Scatter(
        x=pd.concat([found["time_ms"], back["time_ms"]]),
        y=pd.concat([found["mean"] + found["std"], back["mean"] - back["std"]]),
        name="± 1 standard deviation",
        fill="toself",
        fillcolor="rgba(0, 114, 178, 0.30)",
        line={"width": 0},
        hoverinfo="skip",
    )


def _mean(trace: _Trace) -> go.Scatter:
    found = _thin(trace.over_time, "mean")
    return go.Scatter(
        x=found["time_ms"],
        y=found["mean"],
        name="Mean of all inferences",
        mode="lines",
        line={"color": INK, "width": 1.8},
        hovertemplate="Mean: %{y:,.1f} µA<extra></extra>",
    )


def _histogram(trace: _Trace) -> go.Bar:
    """Return the counts; made here, so that a long trace does not travel in the page."""
    currents = trace.samples["current_uA"]
    spread = max(float(currents.max() - currents.min()), abs(trace.mean) * 0.05, 1e-6)
    step = spread / _BINS
    low = float(currents.min() + currents.max() - spread) / 2
    bins = ((currents - low) / step).astype(int).clip(0, _BINS - 1)
    counts = bins.value_counts().sort_index()
    return go.Bar(
        x=counts,
        y=low + (counts.index + 0.5) * step,
        width=step,
        orientation="h",
        name="Distribution",
        marker={"color": COLOURS[0], "line": {"width": 0}},
        showlegend=False,
        hovertemplate="%{y:,.0f} µA: %{x:,} samples<extra></extra>",
    )


def _box(trace: _Trace, segment: int) -> go.Box:
    currents = trace.of(segment)["current_uA"]
    least, low, middle, high, most = currents.quantile([0, 0.25, 0.5, 0.75, 1])
    return go.Box(
        x=[str(segment)],
        lowerfence=[least],
        q1=[low],
        median=[middle],
        q3=[high],
        upperfence=[most],
        mean=[currents.mean()],
        sd=[currents.std(ddof=0)],
        boxmean="sd",
        name=f"Inference {segment}",
        marker={"color": COLOURS[0]},
        showlegend=False,
    )


def _mark_mean(figure: go.Figure, trace: _Trace) -> None:
    """Draw the mean and one standard deviation to each side of it into the distribution."""
    figure.add_hline(y=trace.mean, line={"dash": "dash", "color": INK, "width": 1.5}, row=2, col=1)
    for side in (trace.mean - trace.std, trace.mean + trace.std):
        figure.add_hline(y=side, line={"dash": "dot", "color": FAINT, "width": 1.2}, row=2, col=1)


def _dress(figure: go.Figure, trace: _Trace, known_v: float | None) -> None:
    voltage_v = _SUPPOSED_V if known_v is None else known_v
    supposed = " (supposed)" if known_v is None else ""
    power_uw = trace.mean * voltage_v
    time_ms = float(trace.samples["time_ms"].max())
    subtitle = (
        f"Average power {power_uw / 1000:,.2f} mW at {voltage_v:g} V{supposed} · "
        f"inference time {time_ms:,.2f} ms · "
        f"energy per inference {power_uw * time_ms / 1000:,.2f} µJ · "
        f"{len(trace.segments)} inferences"
    )
    dress(figure, f"Power analysis ({source_text(trace.sources)})", subtitle, height=860)
    figure.update_layout(
        hovermode="x unified",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        margin={"t": 150},
        updatemenus=[_menu(figure, trace)],
    )
    figure.update_xaxes(title_text="Time (ms)", row=1, col=1)
    figure.update_xaxes(title_text="Samples", row=2, col=1)
    figure.update_xaxes(title_text="Inference", type="category", row=2, col=2)
    for row, column in ((1, 1), (2, 1), (2, 2)):
        figure.update_yaxes(
            title_text="Current (µA)", range=_range(trace), tickformat=",", row=row, col=column
        )


def _range(trace: _Trace) -> list[float]:
    """Return one range for all axes of the current; a flat trace is not blown up."""
    least, most = (float(f(trace.samples["current_uA"])) for f in (min, max))
    pad = max((most - least) * 0.08, abs(trace.mean) * 0.05, 1e-3)
    return [least - pad, most + pad]


def _menu(figure: go.Figure, trace: _Trace) -> dict[str, object]:
    """Return the menu that shows all inferences, one, or the mean alone."""
    names = [found.name for found in figure.data]
    lines = [isinstance(found, go.Scatter) and "Inference" in found.name for found in figure.data]

    def only(wanted: str) -> list[bool]:
        return [not name.startswith("Inference ") or name == wanted for name in names]

    choices = [("All inferences", [True] * len(names))]
    choices += [(f"Inference {n}", only(f"Inference {n}")) for n in trace.segments]
    choices.append(("Mean only", [not line for line in lines]))
    return {
        "buttons": [
            {"label": label, "method": "update", "args": [{"visible": shown}]}
            for label, shown in choices
        ],
        "direction": "down",
        "x": 1,
        "xanchor": "right",
        "y": 1.115,
        "yanchor": "top",
        "bgcolor": "white",
    }
