"""What TensorFlow Lite Micro refuses, the compiler refuses first, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.unit.board.batch import Case, reference
from tests.unit.board.make_model import Maker

from trainshed.workloads.board.compiler.registry import refusal
from trainshed.workloads.board.model.reader import read

Build = Callable[[Maker], tuple[list[int], list[int]]]


def one(kind: str, shape: tuple[int, ...], out: tuple[int, ...], *numbers: list[int],
        scale: float = 0.1, zero: int = 3, out_scale: float = 0.1, out_zero: int = 3,
        **options: Any) -> Build:  # fmt: skip
    """One input of int8 and constants of int32."""

    def build(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor(shape, scale=scale, zero=zero)
        y = m.tensor(out, scale=out_scale, zero=out_zero)
        m.operator(kind, [x, *(m.constant(np.array(n, np.int32)) for n in numbers)], [y], **options)
        return [x], [y]

    return build


def joined(n: int, scale: float, **options: Any) -> Build:
    """So many tensors of two elements, the last of another scale."""

    def build(m: Maker) -> tuple[list[int], list[int]]:
        inputs = [m.tensor((1, 2), scale=0.1) for _ in range(n - 1)]
        inputs.append(m.tensor((1, 2), scale=scale))
        y = m.tensor((1, 2 * n), scale=0.1)
        m.operator("CONCATENATION", inputs, [y], axis=1, **options)
        return inputs, [y]

    return build


REFUSED: dict[str, tuple[Build, str]] = {
    "transpose": (one("TRANSPOSE", (1,) * 6, (1,) * 6, [5, 4, 3, 2, 1, 0]), "5 dimensions"),
    "pad": (one("PAD", (1,) * 6, (1,) * 6, [[0, 0]] * 6), "not supported"),  # type: ignore[list-item]
    "slice": (one("STRIDED_SLICE", (2,) * 5, (2,) * 5, [0] * 5, [2] * 5, [1] * 5,
                  ellipsis_mask=0), "4 dimensions"),
    "ellipsis": (one("STRIDED_SLICE", (2, 2), (2, 2), [0], [2], [1], ellipsis_mask=1), "ellipsis"),
    "fewer slices": (one("STRIDED_SLICE", (4, 4), (2, 4), [1], [3], [1]), "each dimension"),
    "eleven": (joined(11, 0.1), "10 tensors"),
    "other scale": (joined(2, 0.2), "another scale"),
    "activation": (joined(2, 0.1, fused_activation_function="RELU"), "fused activation"),
    "logistic": (one("LOGISTIC", (1, 4), (1, 4)), "zero point -128"),
    "hard swish": (one("HARD_SWISH", (1, 4), (1, 4), out_scale=0.0001), "1/128"),
    "resize": (one("RESIZE_NEAREST_NEIGHBOR", (2, 2, 1), (3, 3, 1), [3, 3]), "only of images"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_reference_refuses_is_refused_with_a_sentence(name: str) -> None:
    build, said = REFUSED[name]
    m = Maker()
    inputs, outputs = build(m)
    model = m.pack(inputs, outputs)
    graph = read(model)
    reason = refusal(graph, graph.operators[0])
    assert reason is not None
    assert said in reason
    data = [bytes(graph.tensors[i].n_bytes) for i in graph.inputs]
    with pytest.raises(RuntimeError):
        reference(Case(model, [data]))
