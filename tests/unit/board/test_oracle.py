"""The reference in its child: right results, its own words when it refuses, crashes contained."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.board.make_model import Maker, cnn, small_cnn

from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.model.reader import BadModel
from trainshed.workloads.board.oracle import (
    ReferenceFailed,
    agrees,
    first_difference,
    run_reference,
)

N_IN, N_OUT = 12 * 10 * 3, 4


def images(n: int) -> list[list[bytes]]:
    rng = np.random.default_rng(5)
    return [[rng.integers(-128, 128, N_IN, np.int8).tobytes()] for _ in range(n)]


def relu(dtype: str = "int8", kind: str = "RELU") -> bytes:
    """A network whose result is known without any reference."""
    m = Maker()
    scale = 0.5 if dtype == "int8" else ()
    x, y = m.tensor((1, 6), dtype, scale), m.tensor((1, 6), dtype, scale)
    m.operator(kind, [x], [y])
    return m.pack([x], [y])


def test_a_known_result() -> None:
    values = np.array([-128, -5, 0, 3, 7, 127], np.int8)
    results = run_reference(relu(), [[values.tobytes()], [(-values).tobytes()]])
    assert [list(np.frombuffer(one[0], np.int8)) for one in results] == [
        list(np.maximum(values, 0)), list(np.maximum(-values, 0)),
    ]  # fmt: skip
    numbers = np.array([-2.5, -0.0, 0.0, 1.5, 3.0, 1e9], np.float32)
    ((real,),) = run_reference(relu("float32"), [[numbers.tobytes()]])
    assert list(np.frombuffer(real, np.float32)) == [0, 0, 0, 1.5, 3.0, np.float32(1e9)]


def test_outside_weights_and_old_codes_give_the_same() -> None:
    """Left as it is, the reference would ignore the outside weights and say nothing."""
    usual = run_reference(small_cnn(), images(3))
    assert [len(out) for (out,) in usual] == [N_OUT] * 3
    assert run_reference(small_cnn(external=True), images(3)) == usual
    assert run_reference(small_cnn(old_codes=True), images(3)) == usual
    assert run_reference(small_cnn(seed=1), images(3)) != usual


def test_its_own_words_are_shown() -> None:
    m = Maker()
    x, y = m.tensor((1, 4, 4, 2), "float32"), m.tensor((1, 4, 4, 2), "float32")
    w = m.constant(np.ones((2, 1, 1, 2), np.int8), [0.1, 0.1])
    b = m.constant(np.zeros(2, np.float32))
    m.operator("CONV_2D", [x, w, b], [y], 2, padding="SAME", stride_w=1, stride_h=1)
    with pytest.raises(ReferenceFailed, match="Hybrid models are not supported"):
        run_reference(m.pack([x], [y]), [[bytes(128)]])


def test_a_crash_of_the_library_is_an_answer() -> None:
    """It follows the absent bias of a depthwise convolution, and dies."""
    m = cnn(np.random.default_rng(0))
    m.graph.operators[1].inputs[2] = -1
    with pytest.raises(ReferenceFailed, match="SIGSEGV"):
        run_reference(m.pack([0], m.graph.operators[-1].outputs), images(1))


def test_what_cannot_be_asked() -> None:
    with pytest.raises(BadModel):
        run_reference(b"no model", [])
    with pytest.raises(ValueError, match="sizes"):
        run_reference(relu(), [[b"12345"]])
    with pytest.raises(ReferenceFailed, match="did not end"):
        run_reference(relu(), [[bytes(6)]], timeout_s=0.01)


def test_the_first_layer_that_differs_is_found() -> None:
    model, (image,) = small_cnn(), images(1)
    right: dict[int, bytes] = {}

    def collect(operator: int) -> bytes | None:
        return right.get(operator)

    assert first_difference(model, image, collect) is None
    # The last layer's bytes are known from the whole run, and nothing else is right.
    right[4] = run_reference(model, [image])[0][0]
    assert first_difference(model, image, collect) is None
    right[4] = bytes([right[4][0] ^ 1]) + right[4][1:]
    assert first_difference(model, image, collect) == 4
    right[2] = bytes(8)
    assert first_difference(model, image, collect) == 2


@pytest.mark.parametrize(
    ("ours", "reference", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.00001], [1.0, 2.0], True),
        ([1.0, 2.0001], [1.0, 2.0], False),
        ([1e-7, 2.0], [0.0, 2.0], True),
        ([float("nan"), 2.0], [float("nan"), 2.0], True),
        ([float("nan"), 2.0], [1.0, 2.0], False),
        ([float("inf")], [float("inf")], True),
        ([float("inf")], [float("-inf")], False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_real_numbers_agree_within_the_tolerance(
    ours: list[float], reference: list[float], same: bool
) -> None:
    a, b = np.array(ours, np.float32).tobytes(), np.array(reference, np.float32).tobytes()
    assert agrees(DType.FLOAT32, a, b) == same


def test_whole_numbers_agree_when_they_are_the_same() -> None:
    assert agrees(DType.INT8, b"\1\2", b"\1\2")
    assert not agrees(DType.INT8, b"\1\2", b"\1\3")
