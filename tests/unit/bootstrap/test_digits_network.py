"""The demo's own model file: other people's readers find in it what the demo put there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainshed.bootstrap.demo.boards import reference_accuracy
from trainshed.bootstrap.demo.digits_network import Trained, as_input, train
from trainshed.bootstrap.demo.flatbuffer import flatbuffer
from trainshed.bootstrap.demo.tflite_file import Dense, Scale, Softmax, model_file
from trainshed.workloads.board.oracle import run_reference


@pytest.fixture(scope="module")
def trained() -> Trained:
    from sklearn.datasets import load_digits

    found = load_digits()
    return train((found.images / 16).astype(np.float32), found.target)


def test_int8_is_as_good_as_float_on_images_it_has_not_seen(trained: Trained) -> None:
    assert len(trained.images) == 297
    assert trained.float_accuracy > 0.93
    assert abs(reference_accuracy(trained) - trained.float_accuracy) < 0.02


def test_the_schemas_own_reader_agrees(trained: Trained) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(trained.model))
    graph = model.subgraphs[0]
    assert trained.model[4:8] == b"TFL3"
    codes = [model.operatorCodes[op.opcodeIndex] for op in graph.operators]
    assert [code.builtinCode for code in codes] == [3, 1, 22, 9, 9, 25]
    assert all(code.builtinCode == code.deprecatedBuiltinCode for code in codes)
    assert [list(graph.tensors[n].shape) for n in (graph.inputs[0], graph.outputs[0])] == [
        [1, 8, 8, 1], [1, 10],
    ]  # fmt: skip
    conv = graph.operators[0]
    weights = graph.tensors[conv.inputs[1]].quantization
    assert (len(weights.scale), weights.quantizedDimension) == (12, 0)
    assert (conv.builtinOptions.strideW, conv.builtinOptions.fusedActivationFunction) == (1, 1)
    bias = graph.tensors[conv.inputs[2]]
    assert model.buffers[bias.buffer].data.view(np.int32).any()


def test_arithmetic_that_can_be_done_by_hand() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 2.0]])
    layers = [Dense("d", weights, np.array([0.5, 0.0]), Scale(0.05, -128), True), Softmax("s")]
    model = model_file((2,), Scale(0.01, 0), layers[:1])
    ((answer,),) = run_reference(model, [[np.array([100, 50], np.int8).tobytes()]])
    # 1.0 × 1 + 0.5 and 0.5 × 2, in steps of 0.05 from -128
    assert np.frombuffer(answer, np.int8).tolist() == pytest.approx([-98, -108], abs=1)
    ((answer,),) = run_reference(
        model_file((2,), Scale(0.01, 0), layers), [[np.zeros(2, np.int8).tobytes()]]
    )
    probability = (np.frombuffer(answer, np.int8).astype(int) + 128) / 256
    assert probability.tolist() == pytest.approx([0.622, 0.378], abs=0.01)


def test_inputs_are_centred() -> None:
    assert np.frombuffer(as_input(np.array([0.0, 1.0, 0.5])), np.int8).tolist() == [-128, 127, 0]


def test_a_scale_covers_zero() -> None:
    scale, zero = Scale.of(np.array([2.0, 4.0]))
    assert (-128 - zero) * scale == pytest.approx(0)
    assert (127 - zero) * scale == pytest.approx(4)
    assert Scale.of(np.zeros(3)).scale == 1.0


def test_vectors_are_aligned_and_empty_tables_small() -> None:
    data = flatbuffer({0: [{}, {0: b"abc"}], 1: np.array([7], np.int64), 3: "name"}, b"TEST")
    assert data[4:8] == b"TEST"
    for mark in (b"abc", b"\7\0\0\0\0\0\0\0", b"name"):
        assert data.index(mark) % 16 == 0
