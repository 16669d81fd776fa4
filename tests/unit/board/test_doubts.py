"""What an agreement with the reference does not prove is said."""

from __future__ import annotations

import numpy as np
import pytest

from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.run.compare import _doubts


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


@pytest.mark.parametrize(
    ("types", "outputs", "said"),
    [
        ([DType.INT8], [(b"ab",), (b"cd",)], []),
        ([DType.INT8], [(b"ab",), (b"ab",)], ["same output"]),
        ([DType.INT8], [(b"ab",)], []),
        ([DType.FLOAT32], [(floats(1, 2),), (floats(1, 3),)], []),
        ([DType.FLOAT32], [(floats(1, 2),), (floats(1, np.nan),)], ["not finite"]),
        ([DType.FLOAT32], [(floats(np.inf),), (floats(np.inf),)], ["same output", "not finite"]),
        ([DType.INT8, DType.FLOAT32], [(b"a", floats(1)), (b"b", floats(1))], []),
    ],
)
def test_doubts(types: list[DType], outputs: list[tuple[bytes, ...]], said: list[str]) -> None:
    found = _doubts(types, outputs)
    assert len(found) == len(said)
    for text, part in zip(found, said, strict=True):
        assert part in text
