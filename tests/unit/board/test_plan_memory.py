"""The memory plan: what lives together does not overlap, what follows each other shares."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.board.batch import board
from tests.unit.board.make_model import Maker

from trainshed.workloads.board.compiler.plan_memory import ALIGNMENT, Plan, plan
from trainshed.workloads.board.model.graph import Graph
from trainshed.workloads.board.model.reader import read

CORE = board("cortex-m4").core


def overlaps(made: Plan, graph: Graph, a: int, b: int) -> bool:
    """Whether two tensors share bytes."""
    start_a, start_b = made.offsets[a], made.offsets[b]
    end_a = start_a + graph.tensors[a].n_bytes
    return start_a < start_b + graph.tensors[b].n_bytes and start_b < end_a


def chain(n: int, channels: int, keep_first: bool) -> Graph:
    """Convolutions of one pixel, one after the other; at the end the first is added, or not."""
    m = Maker()
    at = x = m.tensor((1, 8, 8, channels), scale=0.1)
    for _ in range(n):
        y = m.tensor((1, 8, 8, channels), scale=0.1)
        w = m.constant(np.ones((channels, 1, 1, channels), np.int8), [0.1] * channels)
        m.operator("CONV_2D", [at, w], [y], padding="VALID", stride_h=1, stride_w=1)
        at = y
    if keep_first:
        y = m.tensor((1, 8, 8, channels), scale=0.1)
        m.operator("ADD", [x, at], [y])
        at = y
    return read(m.pack([x], [at]))


def test_layers_that_work_in_place_need_one_buffer() -> None:
    graph = chain(4, 16, keep_first=False)
    made = plan(graph, CORE)
    assert len({made.offsets[t] for t in (*graph.inputs, *graph.outputs)}) == 1
    largest = max(n for _, n in made.scratch.values())
    assert made.arena_bytes <= 8 * 8 * 16 + largest + 2 * ALIGNMENT


def test_what_is_still_needed_is_not_written_over() -> None:
    graph = chain(3, 16, keep_first=True)
    made = plan(graph, CORE)
    (x,) = graph.inputs
    others = [op.outputs[0] for op in graph.operators[:-1]]
    assert not any(overlaps(made, graph, x, other) for other in others)


def test_working_memory_is_apart_from_what_lives_with_it() -> None:
    graph = chain(3, 16, keep_first=True)
    made = plan(graph, CORE)
    assert set(made.scratch) == {0, 1, 2}
    for op in graph.operators[:-1]:
        start, n = made.scratch[op.index]
        for t in (op.inputs[0], op.outputs[0], graph.inputs[0]):
            begin = made.offsets[t]
            assert start + n <= begin or begin + graph.tensors[t].n_bytes <= start


@pytest.mark.parametrize("n", [1, 5])
def test_places_are_aligned_and_the_same_each_time(n: int) -> None:
    graph = chain(n, 3, keep_first=True)
    made = plan(graph, CORE)
    assert made == plan(graph, CORE)
    assert all(offset % ALIGNMENT == 0 for offset in made.offsets.values())
    assert made.arena_bytes % ALIGNMENT == 0
