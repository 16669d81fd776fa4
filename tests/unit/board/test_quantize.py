"""Quantisation, really done, and what is said of it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from tests.unit.board.make_model import Maker, small_cnn

from trainshed.workloads.board.check.rules import check
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.quantize import QuantizeFailed, quantize


def dense(*, old_codes: bool = False) -> bytes:
    """A float32 network of two dense layers, 16 values to 4."""
    rng = np.random.default_rng(3)
    m = Maker()
    x = m.tensor((1, 16), "float32", name="values")
    hidden, out = m.tensor((1, 8), "float32"), m.tensor((1, 4), "float32")
    w = m.constant(rng.standard_normal((8, 16)).astype(np.float32))
    b = m.constant(rng.standard_normal(8).astype(np.float32))
    m.operator("FULLY_CONNECTED", [x, w, b], [hidden], fused_activation_function="RELU")
    w = m.constant(rng.standard_normal((4, 8)).astype(np.float32))
    b = m.constant(rng.standard_normal(4).astype(np.float32))
    m.operator("FULLY_CONNECTED", [hidden, w, b], [out])
    return m.pack([x], [out], old_codes=old_codes)


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


SAMPLES = np.random.default_rng(7).standard_normal((50, 16)).astype(np.float32)


@pytest.mark.parametrize("old_codes", [False, True])
def test_a_float_model_becomes_int8(old_codes: bool) -> None:
    made = quantize(dense(old_codes=old_codes), archive(values=SAMPLES))
    graph = read(made.model)
    assert {graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)} == {DType.INT8}
    assert {op.kind for op in graph.operators} == {"FULLY_CONNECTED"}
    accuracy = made.accuracy
    assert (accuracy.n_samples, accuracy.basis, made.warnings) == (50, "calibration", ())
    assert 0 < accuracy.mean_abs_error <= accuracy.max_abs_error < 1
    assert 0.999 < accuracy.cosine < 1
    assert accuracy.top1 is not None
    assert 0.9 <= accuracy.top1 <= 1
    assert check(graph, boards()["nrf5340dk"]).valid


def test_ranges_are_those_of_the_whole_set() -> None:
    """Nothing of the set is clipped, however rare: the widest value has a step of its own."""
    rare = SAMPLES.copy()
    rare[31, 4] = 40.0
    for samples in (SAMPLES, rare):
        graph = read(quantize(dense(), archive(values=samples)).model)
        quant = graph.tensors[graph.inputs[0]].quant
        assert quant is not None
        span = samples.max() - samples.min()
        assert quant.scales[0] == pytest.approx(span / 255, rel=0.01)


def test_without_calibration_it_warns() -> None:
    first, again = quantize(dense(), seed=3), quantize(dense(), seed=3)
    assert first == again
    assert first.accuracy.basis == "synthesised"
    assert "calibration set" in first.warnings[0]


def test_an_int8_model_is_refused_with_advice() -> None:
    with pytest.raises(QuantizeFailed, match=r"already quantised.*quantize=False"):
        quantize(small_cnn())


def _bomb() -> bytes:
    """Unpacks to a gigabyte, by its own directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("values.npy", b"x")
    data = file.getvalue()
    at = data.rindex(b"PK\1\2") + 24
    return data[:at] + (2**30).to_bytes(4, "little") + data[at + 4 :]


def _raw() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("values.npy", b"cos\nsystem\n(S'id'\ntR.")
    return file.getvalue()


BAD = {
    "no archive": (b"hello", "no .npz"),
    "another name": (archive(a=SAMPLES, b=SAMPLES), "no array 'values'"),
    "another shape": (archive(values=SAMPLES[:, :9]), "must be numbers of shape"),
    "the name given": (archive(mine=SAMPLES[:, :9]), "array 'mine' has"),
    "text": (archive(values=np.array([["a"] * 16])), "must be numbers"),
    "objects": (archive(values=np.array([[{}] * 16], object)), "no .npz of plain numbers"),
    "no samples": (archive(values=SAMPLES[:0]), "1 to 500 samples"),
    "not finite": (archive(values=SAMPLES * np.nan), "finite"),
    "not finite as float32": (archive(values=SAMPLES.astype("f8") * 1e300), "finite"),
    "a bomb": (_bomb(), "unpacks to"),
    "no array": (_raw(), "a file in it is no array"),
    "cut off": (archive(values=SAMPLES)[:-40], "no .npz"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_calibration_set_is_refused(what: str) -> None:
    data, text = BAD[what]
    with pytest.raises(QuantizeFailed, match=text):
        quantize(dense(), data)
