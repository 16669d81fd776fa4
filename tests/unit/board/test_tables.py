"""What is computed before the build, against TensorFlow Lite Micro: whole tables, every size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.unit.board.batch import Case, reference
from tests.unit.board.make_model import Maker

from trainshed.workloads.board.compiler.ops.activations import TABLES
from trainshed.workloads.board.compiler.ops.move import nearest
from trainshed.workloads.board.compiler.registry import refusal
from trainshed.workloads.board.model.reader import read

STORED = np.arange(-128, 128, dtype=np.int8)
N = 150
OPTIONS = {"LEAKY_RELU": [{"alpha": a} for a in (0.1, 0.3, 1.5, -0.2)]}
ZEROS = {"LOGISTIC": -128, "TANH": 0}


@pytest.mark.parametrize("kind", TABLES)
def test_each_result_of_a_table_is_the_reference_s(kind: str) -> None:
    rng = np.random.default_rng(list(TABLES).index(kind))
    n_compared = 0
    for i in range(N):
        scale = float(np.float32(2.0 ** rng.uniform(-14, 4)))
        out = float(np.float32(scale * 2.0 ** rng.uniform(-8, 10)))
        zero, zero_out = (int(v) for v in rng.integers(-128, 128, 2))
        options = OPTIONS.get(kind, [{}])
        m = Maker()
        x = m.tensor((1, 256), scale=scale, zero=zero)
        y = m.tensor((1, 256), scale=out, zero=ZEROS.get(kind, zero_out))
        m.operator(kind, [x], [y], **options[i % len(options)])
        model = m.pack([x], [y])
        graph = read(model)
        (operator,) = graph.operators
        if refusal(graph, operator) is not None:
            with pytest.raises(RuntimeError):
                reference(Case(model, [[STORED.tobytes()]]))
            continue
        made = TABLES[kind](operator, graph.tensors[x], graph.tensors[y])
        ((theirs,),) = reference(Case(model, [[STORED.tobytes()]]))
        assert made == np.frombuffer(theirs, np.int8).tolist(), (scale, zero, out, zero_out)
        n_compared += 1
    assert n_compared > N / 2


@pytest.mark.parametrize(("corners", "half"), [(False, False), (True, False), (False, True)])
def test_each_nearest_element_is_the_reference_s(corners: bool, half: bool) -> None:
    for n_in, n_out in product(range(1, 20), repeat=2):
        m = Maker()
        x = m.tensor((1, 1, n_in, 1), "float32")
        y = m.tensor((1, 1, n_out, 1), "float32")
        m.operator("RESIZE_NEAREST_NEIGHBOR", [x, m.constant(np.array([1, n_out], np.int32))], [y],
                   align_corners=corners, half_pixel_centers=half)  # fmt: skip
        case = Case(m.pack([x], [y]), [[np.arange(n_in, dtype=np.float32).tobytes()]])
        ((theirs,),) = reference(case)
        taken = np.frombuffer(theirs, np.float32).astype(int).tolist()
        assert nearest(n_in, n_out, corners, half) == taken, (n_in, n_out)
