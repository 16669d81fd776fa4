"""What all figures share: colours that colour-blind people can tell apart, titles, files."""

from __future__ import annotations

import json
from os import PathLike
from typing import IO, Any

import plotly.graph_objects as go

#: A file as the functions of this package take it.
File = str | PathLike[str] | IO[str] | IO[bytes]

#: The palette of Okabe and Ito, without black, the darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
INK = "#2B2B2B"
FAINT = "#8A8A8A"
_FONT = "Inter, Helvetica, Arial, sans-serif"
_SAID = {
    "measured": "measured on a board",
    "emulated": "emulated, not measured",
    "estimated": "estimated, not measured",
}


def source_text(words: list[str]) -> str:
    """Return what a title says of where figures come from; none is passed off as measured."""
    if not words:
        return "source not stated"
    return " and ".join(_SAID.get(word, word) for word in words)


def colour(number: int) -> str:
    """Return the colour of the n-th thing."""
    return COLOURS[number % len(COLOURS)]


def dress(figure: go.Figure, title: str, subtitle: str, height: int, width: int = 1100) -> None:
    """Give a figure its title, its fonts and its size."""
    figure.update_layout(
        template="plotly_white",
        font={"family": _FONT, "size": 13, "color": INK},
        title={
            "text": f"<b>{title}</b>",
            "subtitle": {"text": subtitle, "font": {"size": 13, "color": "#555555"}},
            "x": 0.02,
            "xanchor": "left",
            "font": {"size": 19},
        },
        height=height,
        width=width,
        margin={"l": 80, "r": 40, "t": 110, "b": 70},
        hoverlabel={"font": {"family": _FONT}},
    )


def read_json(file: File) -> Any:
    """Return the JSON in a file.

    Raises:
        ValueError: it is none.
    """
    if isinstance(file, str | PathLike):
        with open(file, "rb") as opened:
            return json.load(opened)
    return json.load(file)
