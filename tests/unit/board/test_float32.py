"""Float32 models against TensorFlow Lite Micro: with a floating-point unit and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.board.batch import MISSING, Case, reference, run
from tests.unit.board.make_model import Maker

from trainshed.workloads.board.check.quantized import is_available
from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.oracle import agrees
from trainshed.workloads.board.quantize import quantize

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "mlperf_tiny"
CORES = ("cortex-m33", "cortex-m0plus")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def network(last: str = "SOFTMAX") -> bytes:
    """Convolution, depthwise, a residual, pooling, a matrix product of 24 channels."""
    rng, m = np.random.default_rng(2), Maker()
    x = m.tensor((1, 9, 8, 3), "float32", name="image")
    y = m.tensor((1, 9, 8, 8), "float32")
    m.operator("CONV_2D", [x, m.constant(normal(rng, 8, 3, 3, 3)), m.constant(normal(rng, 8))],
               [y], padding="SAME", stride_w=1, stride_h=1,
               fused_activation_function="RELU")  # fmt: skip
    z = m.tensor((1, 9, 8, 8), "float32")
    m.operator("DEPTHWISE_CONV_2D",
               [y, m.constant(normal(rng, 1, 3, 3, 8)), m.constant(normal(rng, 8))], [z],
               padding="SAME", stride_w=1, stride_h=1, depth_multiplier=1)  # fmt: skip
    added = m.tensor((1, 9, 8, 8), "float32")
    m.operator("ADD", [y, z], [added], fused_activation_function="RELU6")
    pooled = m.tensor((1, 4, 4, 8), "float32")
    m.operator("AVERAGE_POOL_2D", [added], [pooled], padding="VALID", stride_w=2, stride_h=2,
               filter_width=2, filter_height=2)  # fmt: skip
    dense = m.tensor((1, 24), "float32")
    m.operator("FULLY_CONNECTED",
               [pooled, m.constant(normal(rng, 24, 128)), m.constant(normal(rng, 24))],
               [dense])  # fmt: skip
    if last == "NONE":
        return m.pack([x], [dense])
    out = m.tensor((1, 24), "float32")
    m.operator("SOFTMAX", [dense], [out], beta=1.0)
    return m.pack([x], [out])


def case(model: bytes) -> Case:
    """Two sets of random inputs of the model's type."""
    rng, graph = np.random.default_rng(3), read(model)
    sets = []
    for _ in range(2):
        one = []
        for tensor in (graph.tensors[i] for i in graph.inputs):
            small = rng.integers(-128, 128, tensor.shape, np.int8)
            floats = rng.uniform(-1, 1, tensor.shape).astype(np.float32)
            one.append((small if tensor.dtype is DType.INT8 else floats).tobytes())
        sets.append(one)
    return Case(model, sets)


@pytest.mark.parametrize("core", CORES)
def test_sums_have_the_reference_s_bits_and_exponentials_agree(core: str, tmp_path: Path) -> None:
    exact, close = case(network("NONE")), case(network())
    ours = run([exact, close], core, tmp_path)
    assert ours[0] == reference(exact)
    for mine, theirs in zip(ours[1], reference(close), strict=True):
        assert agrees(DType.FLOAT32, mine[0], theirs[0])


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no models in {FOLDER}")
def test_a_float_model_of_mlperf_tiny_agrees(tmp_path: Path) -> None:
    one = case((FOLDER / "ic_float32.tflite").read_bytes())
    (ours,) = run([one], "cortex-m33", tmp_path)
    for mine, theirs in zip(ours, reference(one), strict=True):
        assert agrees(DType.FLOAT32, mine[0], theirs[0])


@pytest.mark.skipif(not is_available(), reason="ai-edge-quantizer is not installed")
def test_what_the_quantiser_makes_gives_the_reference_s_bytes(tmp_path: Path) -> None:
    made = quantize(network()).model
    graph = read(made)
    weights = [graph.tensors[o.inputs[1]] for o in graph.operators if o.kind == "FULLY_CONNECTED"]
    assert [len(w.quant.scales) for w in weights if w.quant] == [24], "not per channel any more"
    one = case(made)
    assert run([one], "cortex-m33", tmp_path) == [reference(one)]
