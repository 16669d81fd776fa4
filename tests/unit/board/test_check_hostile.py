"""What a hostile or odd model can no longer do: it is refused before it costs anything."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tests.unit.board.make_model import Maker
from tests.unit.board.test_check import BOARD, INT8, error, one

from trainshed.workloads.board.check.rules import check
from trainshed.workloads.board.model.reader import read


def test_what_nobody_could_wait_for_is_refused_with_both_numbers() -> None:
    """A wide filter takes few bytes and any number of instructions."""
    weights = np.ones((1, 255, 255, 1), np.int8)
    options = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
    wide = [
        one("CONV_2D", [(1, n, n, 1), weights, -1], (1, n, n, 1), 3, **options) for n in (64, 96)
    ]
    assert check(read(wide[0]), BOARD).valid
    text = error(wide[1], code="too_long")
    assert "599 million multiply-accumulates; at most 500 million" in text


@pytest.mark.parametrize("dilation", [2**15, 2**30, 2**31 - 1])
def test_steps_beyond_what_the_reference_keeps_are_refused(dilation: int) -> None:
    data = one(
        "CONV_2D", [(1, 8, 8, 2), np.ones((2, 3, 3, 2), np.int8), -1], (1, 8, 8, 2), 3,
        padding="SAME", stride_w=1, stride_h=1, dilation_w_factor=dilation, dilation_h_factor=1,
    )  # fmt: skip
    assert "is beyond 32767" in error(data)


def test_what_would_take_long_to_check_is_refused_first() -> None:
    """One set of weights or of axes in many layers, and a tensor in thousands of parts."""
    m = Maker()
    x, w = m.tensor((1, 1000), **INT8), m.constant(np.ones((1000, 1000), np.int8), **INT8)
    last = x
    for _ in range(500):
        y = m.tensor((1, 1000), **INT8)
        m.operator("FULLY_CONNECTED", [last, w, -1], [y], 4)
        last = y
    began = time.process_time()
    assert "488281.2 KB of flash" in error(m.pack([x], [last]), code="flash_too_large")
    m = Maker()
    x, axis = m.tensor((3000, 1), **INT8), m.constant(np.array(0, np.int32))
    parts = [m.tensor((1, 1), **INT8) for _ in range(3000)]
    m.operator("SPLIT", [axis, x], parts, 2, num_splits=3000)
    assert "3001 tensors; at most 2000" in error(m.pack([x], parts[:1]), code="too_many_tensors")
    axes = np.zeros(1_000_000, np.int32)
    text = error(one("MEAN", [(1, 4, 4, 2), axes], (4, 4, 2), 2))
    assert "has 1000000 numbers, not at most 64" in text
    assert time.process_time() - began < 5


def test_a_softmax_on_which_the_reference_aborts_is_refused() -> None:
    def softmax(n: int) -> bytes:
        m = Maker()
        x, y = m.tensor((1, n), **INT8), m.tensor((1, n), scale=1 / 256, zero=-128)
        m.operator("SOFTMAX", [x], [y], 2, beta=1.0)
        return m.pack([x], [y])

    assert check(read(softmax(4096)), BOARD).valid
    assert "over 4097 values" in error(softmax(4097))


def test_many_rows_are_resized() -> None:
    """Their numbers do not fit 16 bits."""
    size = np.array([40_000, 2], np.int32)
    data = one("RESIZE_NEAREST_NEIGHBOR", [(1, 40_000, 1, 1), size], (1, 40_000, 2, 1), 2)
    assert check(read(data), BOARD).valid


def test_an_input_that_nobody_reads_must_have_a_type_that_can_be_sent() -> None:
    m = Maker()
    x, spare, y = m.tensor((1, 4), **INT8), m.tensor((3,), "float16"), m.tensor((1, 4), **INT8)
    m.operator("RELU", [x], [y], 2)
    assert "Input tensor 1" in error(m.pack([x, spare], [y]), code="input_not_supported")


def test_a_model_that_only_renames_is_refused() -> None:
    data = one("RESHAPE", [(1, 4), np.array([2, 2], np.int32)], (2, 2))
    assert "computes anything" in error(data, code="empty_model")


def test_names_are_shown_without_what_a_terminal_obeys() -> None:
    m = Maker()
    name = 'a"; system("id");\n*/\x1b[2J\u202e'
    x, y = m.tensor((1, 4), **INT8, name=name), m.tensor((1, 4), "float32", name=name)
    m.operator("ADD", [x, x], [y], 1)
    graph = read(m.pack([x], [y]))
    assert graph.tensors[0].name == 'a"; system("id");?*/?[2J?'
    assert error(m.pack([x], [y])).isprintable()
