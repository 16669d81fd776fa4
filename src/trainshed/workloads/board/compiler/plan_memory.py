"""The static memory plan: where each tensor lies in the arena, and how large that is.

A buffer is one tensor, or several that share its bytes because an operator only renames its input
or may write its output in the place of an input that dies there. Working memory of a layer is a
buffer that lives for that layer. Buffers that live at the same time do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.registry import entry_of
from trainshed.workloads.board.model.graph import Graph, Operator

ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """``offsets``: tensor -> byte in the arena; ``scratch``: operator -> (byte, length)."""

    offsets: Mapping[int, int]
    scratch: Mapping[int, tuple[int, int]]
    arena_bytes: int


@dataclass(slots=True)
class _Buffer:
    """``first`` and ``last``: the operators between which the bytes must be kept."""

    first: int
    last: int
    n_bytes: int
    tensors: list[int] = field(default_factory=list)
    scratch_of: int = -1
    offset: int = 0


def plan(graph: Graph, core: Core) -> Plan:
    """Return the smallest of a few plans; the same graph always gets the same one."""
    tried = [
        _place(_buffers(graph, core, share), order)
        for share in (True, False)
        for order in (_by_size, _by_life, _by_start)
    ]
    return min(tried, key=lambda made: made.arena_bytes)


def _buffers(graph: Graph, core: Core, share: bool) -> list[_Buffer]:
    """Liveness; with ``share`` an output may take the place of an input."""
    last_use = _last_uses(graph)
    of: dict[int, _Buffer] = {}
    made: list[_Buffer] = []

    def add(tensor: int, first: int) -> None:
        last = last_use.get(tensor, first)
        of[tensor] = _Buffer(first, last, graph.tensors[tensor].n_bytes, [tensor])
        made.append(of[tensor])

    for tensor in graph.inputs:
        add(tensor, -1)
    for position, operator in enumerate(graph.operators):
        for tensor in _arena_inputs(graph, operator):
            if tensor not in of:  # a variable, or a tensor that nothing wrote
                add(tensor, -1)
        taken = _taken(graph, core, operator, position, of, share)
        for tensor in operator.outputs:
            if taken is not None and tensor == operator.outputs[0]:
                _join(taken, tensor, last_use.get(tensor, position), graph)
                of[tensor] = taken
            else:
                add(tensor, position)
        n_scratch = _scratch(graph, operator, core)
        if n_scratch:
            made.append(_Buffer(position, position, n_scratch, scratch_of=operator.index))
    return made


def _taken(
    graph: Graph, core: Core, operator: Operator, position: int,
    of: Mapping[int, _Buffer], share: bool,
) -> _Buffer | None:  # fmt: skip
    """The buffer whose place the first output takes, if any."""
    entry = entry_of(graph, operator)
    if entry is None or not operator.outputs:
        return None
    if entry.alias:
        return of.get(operator.inputs[0])
    if not share:
        return None
    wanted = graph.tensors[operator.outputs[0]].n_bytes
    for tensor in entry.overwrites(graph, operator, core):
        buffer = of.get(tensor)
        if buffer is not None and buffer.last == position and wanted <= buffer.n_bytes:
            return buffer
    return None


def _join(buffer: _Buffer, tensor: int, last: int, graph: Graph) -> None:
    buffer.tensors.append(tensor)
    buffer.last = max(buffer.last, last)
    buffer.n_bytes = max(buffer.n_bytes, graph.tensors[tensor].n_bytes)


def _last_uses(graph: Graph) -> dict[int, int]:
    """Tensor -> the last operator that reads it; an output of the model lives to the end."""
    uses: dict[int, int] = {}
    for position, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            uses[tensor] = position
    uses.update(dict.fromkeys(graph.outputs, len(graph.operators)))
    return uses


def _arena_inputs(graph: Graph, operator: Operator) -> list[int]:
    return [t for t in operator.inputs if t >= 0 and graph.tensors[t].data is None]


def _scratch(graph: Graph, operator: Operator, core: Core) -> int:
    entry = entry_of(graph, operator)
    return entry.scratch(graph, operator, core) if entry else 0


def _by_size(buffer: _Buffer) -> tuple[int, ...]:
    return (-buffer.n_bytes, buffer.first)


def _by_life(buffer: _Buffer) -> tuple[int, ...]:
    return (buffer.first - buffer.last, -buffer.n_bytes, buffer.first)


def _by_start(buffer: _Buffer) -> tuple[int, ...]:
    return (buffer.first, -buffer.n_bytes, buffer.last)


def _place(buffers: list[_Buffer], order: Callable[[_Buffer], tuple[int, ...]]) -> Plan:
    """Put each buffer, in the order given, at the lowest place that is free while it lives."""
    placed: list[_Buffer] = []
    for buffer in sorted(buffers, key=order):
        buffer.offset = _lowest(buffer, placed)
        placed.append(buffer)
        placed.sort(key=lambda b: b.offset)
    offsets = {tensor: b.offset for b in placed for tensor in b.tensors}
    scratch = {b.scratch_of: (b.offset, b.n_bytes) for b in placed if b.scratch_of >= 0}
    end = max((b.offset + b.n_bytes for b in placed), default=0)
    return Plan(offsets, scratch, _aligned(end))


def _lowest(buffer: _Buffer, placed: Sequence[_Buffer]) -> int:
    offset = 0
    for other in placed:
        together = other.first <= buffer.last and buffer.first <= other.last
        if together and offset + buffer.n_bytes > other.offset:
            offset = max(offset, _aligned(other.offset + other.n_bytes))
    return offset


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
