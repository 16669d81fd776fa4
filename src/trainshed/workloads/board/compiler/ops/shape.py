"""Operators that only rename the bytes of a tensor."""

from __future__ import annotations

from trainshed.workloads.board.compiler.entry import FLOAT, INT8, Code, Entry, Site
from trainshed.workloads.board.model.graph import Graph, Operator


def _copy(site: Site) -> Code:
    """Only reached where the output could not be given the input's place: a constant."""
    source, target = site.input(), site.output()
    return Code(f"    memcpy({site.at(target)}, {site.at(source)}, {target.n_bytes});")


def _refuse(graph: Graph, operator: Operator) -> str | None:
    source, target = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if source.n_elements != target.n_elements:
        return f"{operator.kind} of {source.shape} to {target.shape} does not keep the elements."
    return None


ENTRIES = tuple(
    Entry(kind, version, (INT8, FLOAT), _copy, refuse=_refuse, alias=True)
    for kind, version in (("RESHAPE", 1), ("SQUEEZE", 2), ("EXPAND_DIMS", 1))
)
