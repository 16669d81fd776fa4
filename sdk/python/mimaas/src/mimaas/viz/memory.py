"""What takes the memory: the tree of ``ram.json`` or ``rom.json`` as a map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

from mimaas.viz.style import File, colour, dress, read_json

_KB = 1024
_MOST_DEEP = 64


def plot_memory_map(report: File) -> go.Figure:
    """Return a map of ``ram.json`` or ``rom.json``: an area is as large as what it stands for.

    A click on a part looks into it.

    Raises:
        ValueError: it is no such report.
    """
    found = read_json(report)
    tree = found.get("symbols") if isinstance(found, dict) else None
    if not isinstance(tree, dict):
        raise ValueError("This is no memory report: there is no tree under 'symbols'.")
    nodes = list(_walk(tree, "", "0", "#FFFFFF", 0))
    total = max(nodes[0]["value"], 1)
    figure = go.Figure(
        go.Treemap(
            ids=[node["id"] for node in nodes],
            parents=[node["parent"] for node in nodes],
            labels=[node["label"] for node in nodes],
            values=[node["value"] for node in nodes],
            text=[size_text(node["value"]) for node in nodes],
            customdata=[node["value"] / total for node in nodes],
            branchvalues="total",
            sort=True,
            tiling={"packing": "squarify", "pad": 3},
            marker={"colors": [node["colour"] for node in nodes], "line": {"color": "white"}},
            texttemplate="<b>%{label}</b><br>%{text}",
            hovertemplate="<b>%{label}</b><br>%{text}, %{value:,} bytes"
            "<br>%{customdata:.1%} of all<extra></extra>",
            pathbar={"visible": True, "thickness": 26},
        )
    )
    kind = {"ram": "RAM", "rom": "Flash"}.get(_kind(report), "Memory")
    largest = sorted(nodes[1:], key=lambda node: -int(node["value"]))
    top = [node for node in largest if node["parent"] == nodes[0]["id"]][:4]
    shares = " · ".join(f"{n['label']} {n['value'] / total:.0%}" for n in top)
    dress(figure, f"{kind}: {size_text(nodes[0]['value'])}", shares, height=720)
    figure.update_layout(
        margin={"l": 20, "r": 20, "t": 100, "b": 20}, uniformtext={"minsize": 10, "mode": "hide"}
    )
    return figure


def _walk(
    node: dict[str, Any], parent: str, identity: str, shade: str, depth: int
) -> Iterator[dict[str, Any]]:
    """Yield the tree's nodes, each after its parent; ids are paths of positions, so unique."""
    size, children = node.get("size"), node.get("children") or []
    if type(size) is not int or size < 0 or not isinstance(children, list) or depth > _MOST_DEEP:
        raise ValueError("This is no memory report: a node has no size.")
    label = str(node.get("name") or "?")
    yield {"id": identity, "parent": parent, "label": label, "value": size, "colour": shade}
    for n, child in enumerate(children):
        if not isinstance(child, dict):
            raise ValueError("This is no memory report: a child is no node.")
        own = colour(n) if depth == 0 else shade
        yield from _walk(child, identity, f"{identity}.{n}", own, depth + 1)


def _kind(report: File) -> str:
    name = str(getattr(report, "name", report))
    return name.replace("\\", "/").rpartition("/")[2].lower()[:3]


def size_text(size: int) -> str:
    """Return bytes as people read them."""
    return f"{size / _KB:,.1f} KB" if size >= _KB else f"{size} B"
