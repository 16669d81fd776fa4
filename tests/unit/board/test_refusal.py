"""Operators that the compiler refuses: a sentence, never an exception of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.board.batch import board
from tests.unit.board.make_model import Maker

from trainshed.workloads.board.compiler.lower import Unsupported, compile_graph
from trainshed.workloads.board.model.graph import Graph, Operator, Tensor
from trainshed.workloads.board.model.reader import read


def convolution(kind: str) -> Graph:
    """One layer of 4 channels to 4."""
    m = Maker()
    x, y = m.tensor((1, 6, 6, 4), scale=0.1), m.tensor((1, 6, 6, 4), scale=0.1)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    shape, axis = ((1, 3, 3, 4), 3) if depthwise else ((4, 3, 3, 4), 0)
    w = m.constant(np.ones(shape, np.int8), [0.1] * 4, 0, axis)
    b = m.constant(np.ones(4, np.int32), [0.01] * 4)
    options = {"depth_multiplier": 1} if depthwise else {}
    m.operator(kind, [x, w, b], [y], padding="SAME", stride_h=1, stride_w=1, **options)
    return read(m.pack([x], [y]))


def with_operator(graph: Graph, **changes: object) -> Graph:
    """The graph with fields of its operator changed; options are added to those there."""
    (operator,) = graph.operators
    options = {**operator.options, **changes.pop("options", {})}  # type: ignore[dict-item]
    made: Operator = replace(operator, options=options, **changes)  # type: ignore[arg-type]
    return replace(graph, operators=(made,))


def with_tensor(graph: Graph, position: int, **changes: object) -> Graph:
    """The graph with fields of an input of its operator changed."""
    index = graph.operators[0].inputs[position]
    tensors: list[Tensor] = list(graph.tensors)
    tensors[index] = replace(tensors[index], **changes)  # type: ignore[arg-type]
    return replace(graph, tensors=tuple(tensors))


KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D")
ONE_BIAS = {"shape": (1,), "data": bytes(4)}
FLAT = {"shape": (144,)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: with_operator(g, options={"stride_h": 0}), "stride"),
        (lambda g: with_operator(g, options={"dilation_w_factor": -1}), "dilation"),
        (lambda g: with_operator(g, options={"padding": "VALID"}), "shape"),
        (lambda g: with_operator(g, options={"fused_activation_function": "TANH"}), "TANH"),
        (lambda g: with_operator(g, version=99), "99"),
        (lambda g: with_operator(g, inputs=g.operators[0].inputs[:1]), "lacks"),
        (lambda g: with_operator(g, inputs=(0, -1)), "lacks"),
        (lambda g: with_operator(g, kind="LSTM"), "LSTM is not supported"),
        (lambda g: with_tensor(g, 0, quant=None), "no scale"),
        (lambda g: with_tensor(g, 1, data=None), "constant weights"),
        (lambda g: with_tensor(g, 2, **ONE_BIAS), "bias"),
        (lambda g: with_tensor(g, 0, shape=(1, 0, 6, 4)), "without elements"),
        (lambda g: with_tensor(g, 1, **FLAT), "weights|bias"),
    ],
)
def test_a_layer_that_cannot_be_compiled_is_refused_by_its_index(
    kind: str, change: object, says: str
) -> None:
    assert callable(change)
    graph = change(convolution(kind))
    with pytest.raises(Unsupported, match=says) as refused:
        compile_graph(graph, board("cortex-m4").core)
    assert refused.value.operator == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_unchanged_layer_compiles(kind: str) -> None:
    program = compile_graph(convolution(kind), board("cortex-m4").core)
    assert [layer.kind for layer in program.layers] == [kind]
