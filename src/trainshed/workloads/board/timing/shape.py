"""The digest of a model's structure, which says what a factor was fitted to.

Operators, options, types and shapes count; weights, scales and names do not: another training of
the same network takes the same time.
"""

from __future__ import annotations

import hashlib
import json

from trainshed.workloads.board.model.graph import Graph, Operator


def shape_digest(graph: Graph) -> str:
    """Return 64 hex digits, equal for models that differ only in their numbers and names."""
    tensors = [[t.dtype.value, list(t.shape), t.data is not None] for t in graph.tensors]
    operators = [
        [op.kind, list(op.inputs), list(op.outputs), _options(op)] for op in graph.operators
    ]
    ends = [list(graph.inputs), list(graph.outputs)]
    text = json.dumps([tensors, operators, ends], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _options(operator: Operator) -> list[tuple[str, str]]:
    return sorted((name, str(value)) for name, value in operator.options.items())
