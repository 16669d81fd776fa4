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
def entries() -> Mapping[str, tuple[Entry, ...]]:
    """Return kind -> its entries; a file of ``compiler/ops`` adds its ``ENTRIES``.

    A kind may have an entry a type, each in the file of its family.
    """
    found: dict[str, tuple[Entry, ...]] = {}
    for module in iter_modules(ops.__path__):
        family = import_module(f"{ops.__name__}.{module.name}")
        for entry in getattr(family, "ENTRIES", ()):
            others = found.get(entry.kind, ())
            if any(set(entry.types) & set(other.types) for other in others):
                raise AssertionError(f"{entry.kind} is written twice for the same types")
            found[entry.kind] = (*others, entry)
    return MappingProxyType(found)


def entry_of(graph: Graph, operator: Operator) -> Entry | None:
    """Return the entry of an operator's kind and types, if there is one."""
    types = types_of(graph, operator)
    return next((e for e in entries().get(operator.kind, ()) if types in e.types), None)


def types_of(graph: Graph, operator: Operator) -> tuple[DType, DType]:
    """Return the types of the first input that is there and of the first output."""
    given = [i for i in operator.inputs if i >= 0]
    first = graph.tensors[given[0]].dtype if given else DType.OTHER
    last = graph.tensors[operator.outputs[0]].dtype if operator.outputs else DType.OTHER
    return first, last


def refusal(graph: Graph, operator: Operator) -> str | None:
    """Return why an operator cannot be compiled and what to do, or None when it can."""
    known = entries().get(operator.kind)
    if known is None:
        return (
            f"{operator.kind} is not supported. Replace it by supported operators: "
            f"{', '.join(sorted(entries()))}."
        )
    newest = max(entry.max_version for entry in known)
    if operator.version > newest:
        return (
            f"{operator.kind} version {operator.version} is not supported, only up to {newest}. "
            "Convert the model with an older converter."
        )
    entry = entry_of(graph, operator)
    if entry is None:
        given, made = types_of(graph, operator)
        every = [pair for one in known for pair in one.types]
        listed = ", ".join(f"{a}→{b}" if a != b else str(a) for a, b in every)
        return (
            f"{operator.kind} of {given} to {made} is not supported, only {listed}. "
            "Quantise the whole model to int8, or leave it float32."
        )
    return _incomplete(graph, operator, entry) or entry.refuse(graph, operator)


def _incomplete(graph: Graph, operator: Operator, entry: Entry) -> str | None:
    """What an entry's own functions may rely on."""
    needed = operator.inputs[: entry.n_inputs]
    if len(needed) < entry.n_inputs or min(needed, default=0) < 0 or not operator.outputs:
        return f"{operator.kind} lacks an input or an output."
    if any(
        graph.tensors[i].n_elements < 1 for i in (*operator.inputs, *operator.outputs) if i >= 0
    ):
        return f"{operator.kind} has a tensor without elements."
    steps = [v for k, v in operator.options.items() if k.startswith(("stride_", "dilation_"))]
    if any(not isinstance(v, int) or v < 1 for v in steps):
        return f"{operator.kind} has a stride or dilation below 1."
    return None
