"""Every kind of operator the compiler knows, gathered from the files of ``compiler/ops``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from trainshed.workloads.board.compiler import ops
from trainshed.workloads.board.compiler.entry import Entry
from trainshed.workloads.board.model.graph import DType, Graph, Operator


@cache
def entries() -> Mapping[str, Entry]:
    """Return kind -> entry; a file of ``compiler/ops`` adds its ``ENTRIES``."""
    found: dict[str, Entry] = {}
    for module in iter_modules(ops.__path__):
        family = import_module(f"{ops.__name__}.{module.name}")
        for entry in getattr(family, "ENTRIES", ()):
            if entry.kind in found:
                raise AssertionError(f"{entry.kind} is written twice")
            found[entry.kind] = entry
    return MappingProxyType(found)


def refusal(graph: Graph, operator: Operator) -> str | None:
    """Return why an operator cannot be compiled and what to do, or None when it can."""
    entry = entries().get(operator.kind)
    if entry is None:
        return (
            f"{operator.kind} is not supported. Replace it by supported operators: "
            f"{', '.join(sorted(entries()))}."
        )
    if operator.version > entry.max_version:
        return (
            f"{operator.kind} version {operator.version} is not supported, only up to "
            f"{entry.max_version}. Convert the model with an older converter."
        )
    types = _types(graph, operator)
    if types not in entry.types:
        known = ", ".join(f"{a}→{b}" if a != b else str(a) for a, b in entry.types)
        return (
            f"{operator.kind} of {types[0]} to {types[1]} is not supported, only {known}. "
            "Quantise the whole model to int8, or leave it float32."
        )
    return entry.refuse(graph, operator)


def _types(graph: Graph, operator: Operator) -> tuple[DType, DType]:
    """The types of the first input that is there and of the first output."""
    given = [i for i in operator.inputs if i >= 0]
    first = graph.tensors[given[0]].dtype if given else DType.OTHER
    last = graph.tensors[operator.outputs[0]].dtype if operator.outputs else DType.OTHER
    return first, last
