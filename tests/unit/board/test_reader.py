"""The reader against files written by the schema's own classes, honest and broken ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tests.unit.board.make_model import ENUMS, OPTIONS, Maker, cnn, small_cnn

from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.model.reader import BadModel, read
from trainshed.workloads.board.model.rewrite import portable
from trainshed.workloads.board.model.schema import KINDS
from trainshed.workloads.board.model.schema import OPTIONS as FIELDS

SHARED = Path(__file__).parents[4] / "shared" / "data" / "mlperf_tiny"


def changed(change: Callable[[Maker], None]) -> bytes:
    """Return the small network after a change."""
    m = cnn(np.random.default_rng(0))
    change(m)
    return m.pack([0], m.graph.operators[-1].outputs)


def test_a_whole_network_is_read() -> None:
    graph = read(small_cnn())
    assert [op.kind for op in graph.operators] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    image, weights = graph.tensors[0], graph.tensors[1]
    assert (image.name, image.dtype, image.shape) == ("image", DType.INT8, (1, 12, 10, 3))
    assert image.data is None
    assert image.quant is not None
    assert image.quant.zero_points == (-5,)
    assert weights.data is not None
    assert len(weights.data) == weights.n_bytes == 8 * 3 * 3 * 3
    assert weights.quant is not None
    assert len(weights.quant.scales) == 8
    assert graph.operators[3].inputs[2] == -1
    assert graph.operators[1].options == {
        "padding": "SAME", "stride_w": 1, "stride_h": 1, "depth_multiplier": 1,
        "fused_activation_function": "RELU6", "dilation_w_factor": 1, "dilation_h_factor": 1,
    }  # fmt: skip
    assert (graph.description, graph.n_bytes) == ("made for a test", len(small_cnn()))


@pytest.mark.parametrize("how", [{"old_codes": True}, {"external": True}])
def test_old_codes_and_outside_weights_read_the_same(how: dict[str, bool]) -> None:
    usual, other = read(small_cnn()), read(small_cnn(**how))
    assert usual.tensors == other.tensors
    assert usual.operators == other.operators


@pytest.mark.parametrize("how", [{"old_codes": True}, {"external": True}])
def test_a_portable_model_means_the_same_to_another_reader(how: dict[str, bool]) -> None:
    data = portable(small_cnn(**how))
    assert read(data).tensors == read(small_cnn()).tensors
    tree = schema.ModelT.InitFromPackedBuf(data, 0)
    plain = schema.ModelT.InitFromPackedBuf(small_cnn(), 0)
    assert [c.builtinCode for c in tree.operatorCodes] == [
        c.builtinCode for c in plain.operatorCodes
    ]
    for ours, theirs in zip(tree.buffers, plain.buffers, strict=True):
        assert bytes(ours.data if ours.data is not None else b"") == bytes(
            theirs.data if theirs.data is not None else b""
        )
    assert portable(small_cnn()) == small_cnn()


def test_custom_operators_keep_name_and_version() -> None:
    def custom(m: Maker) -> None:
        y = m.tensor((1, 4), scale=0.1)
        m.operator("MyOp\n", [m.graph.operators[-1].outputs[0]], [y], version=7)

    data = changed(custom)
    assert (read(data).operators[-1].kind, read(data).operators[-1].version) == ("CUSTOM:MyOp?", 7)


def test_the_schema_is_the_real_one() -> None:
    """Numbers and field slots agree with the generated classes."""
    for number, kind in enumerate(KINDS):
        assert getattr(schema.BuiltinOperator, kind) == number
    unions = {v: k for k, v in vars(schema.BuiltinOptions).items() if isinstance(v, int)}
    for kind, (number, _) in FIELDS.items():
        expected = OPTIONS.get(kind)
        assert expected is None or unions[number] == expected


@pytest.mark.parametrize("kind", sorted(FIELDS))
@pytest.mark.parametrize("given", [False, True])
def test_every_option_is_read_from_its_place(kind: str, given: bool) -> None:
    number, fields = FIELDS[kind]
    name = {v: k for k, v in vars(schema.BuiltinOptions).items() if isinstance(v, int)}[number]
    table = getattr(schema, f"{name}T")()
    expected: dict[str, Any] = {}
    for position, field in enumerate(fields):
        attribute = field.name.split("_")[0] + "".join(
            w.capitalize() for w in field.name.split("_")[1:]
        )
        assert hasattr(table, attribute), (name, attribute)
        value: Any = getattr(table, attribute)
        if given and field.names:
            value = len(field.names) - 1
        elif given:
            value = {"bool": not value, "f32": 0.25, "i32s": [3, 5]}.get(field.kind, position + 2)
        setattr(table, attribute, value)
        if field.names:
            expected[field.name] = field.names[value]
            enum = ENUMS[field.name]
            assert getattr(enum, field.names[value]) == value
        else:
            expected[field.name] = tuple(value or ()) if field.kind == "i32s" else value
    m = Maker()
    x, y = m.tensor((1, 4), "float32"), m.tensor((1, 4), "float32")
    m.operator(kind, [x], [y])
    m.graph.operators[0].builtinOptionsType, m.graph.operators[0].builtinOptions = number, table
    assert read(m.pack([x], [y])).operators[0].options == expected


def _with(attribute: str, value: Any, tensor: int = 0) -> Callable[[Maker], None]:
    return lambda m: setattr(m.graph.tensors[tensor], attribute, value)


def _operator(attribute: str, value: Any, index: int = 0) -> Callable[[Maker], None]:
    return lambda m: setattr(m.graph.operators[index], attribute, value)


def _scales(scales: list[float], zeros: list[int], axis: int = 0) -> Callable[[Maker], None]:
    def change(m: Maker) -> None:
        quant = m.graph.tensors[1].quantization
        quant.scale, quant.zeroPoint, quant.quantizedDimension = scales, zeros, axis

    return change


BROKEN = {
    "negative dimension": (_with("shape", [1, -7, 10, 3]), "negative dimension"),
    "huge tensor": (_with("shape", [65536, 65536, 65536]), "too large"),
    "too many dimensions": (_with("shape", [1] * 9), "9 dimensions"),
    "buffer of another size": (_with("shape", [8, 3, 3, 4], 1), "needs 288 bytes of data"),
    "no such buffer": (_with("buffer", 99), "wants buffer 99"),
    "no such tensor": (_operator("inputs", [0, 1, 400]), "is tensor 400"),
    "negative tensor": (_operator("outputs", [-1]), "is tensor -1"),
    "no such code": (_operator("opcodeIndex", 12), "has code 12"),
    "read before made": (_operator("inputs", [3, 1, 2]), "before any operator"),
    "written twice": (_operator("outputs", [3], 1), "made before"),
    "constant written": (_operator("outputs", [2]), "constant"),
    "scales without a dimension": (_scales([0.1] * 3, [0] * 3), "3 scales for dimension 0"),
    "scales of axis 9": (_scales([0.1] * 8, [0] * 8, 9), "dimension 9"),
    "zero points of another number": (_scales([0.1] * 8, [0] * 3), "3 zero points"),
    "scale that is no number": (_scales([float("nan")], [0]), "no number"),
    "schema version": (lambda m: setattr(m.model, "version", 2), "version is 2"),
    "no subgraph": (lambda m: setattr(m.model, "subgraphs", []), "no subgraph"),
    "unknown operator": (
        lambda m: setattr(m.model.operatorCodes[0], "builtinCode", 9999), "number 9999",
    ),
    "options of another operator": (
        lambda m: setattr(m.graph.operators[0], "builtinOptionsType", 9), "another operator",
    ),
    "unknown padding": (
        lambda m: setattr(m.graph.operators[0].builtinOptions, "padding", 5), "padding of CONV_2D",
    ),
    "sparse": (_with("sparsity", schema.SparsityParametersT(), 1), "sparsely"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named(what: str) -> None:
    change, text = BROKEN[what]
    with pytest.raises(BadModel, match=text):
        read(changed(change))


def test_an_output_that_nobody_makes_is_named() -> None:
    m = cnn(np.random.default_rng(0))
    lonely = m.tensor((1, 4), scale=0.1)
    with pytest.raises(BadModel, match="made by no operator"):
        read(m.pack([0], [lonely]))


def test_unknown_dimensions_read_as_one() -> None:
    data = changed(_with("shape", [-1, 12, 10, 3]))
    assert read(data).tensors[0].shape == (1, 12, 10, 3)
    tree = schema.ModelT.InitFromPackedBuf(portable(data), 0)
    assert list(tree.subgraphs[0].tensors[0].shape) == [1, 12, 10, 3]


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 64, b"\x1c\0\0\0TFL3", b"PK\3\4" * 9])
def test_no_model_at_all(data: bytes) -> None:
    with pytest.raises(BadModel):
        read(data)


def test_weights_behind_the_end_are_named() -> None:
    data = small_cnn(external=True)
    with pytest.raises(BadModel, match="outside of the file"):
        read(data[:-200])


def test_many_entries_at_the_same_place_cost_no_more_than_the_file() -> None:
    """Thousands of buffers that are all the same table: refused, and at once."""
    n = 15_000
    plain = bytearray(small_cnn())
    at = len(plain) + -len(plain) % 4
    plain += bytes(at - len(plain))
    table = at + 4 + 4 * n
    plain += struct.pack("<I", n) + b"".join(
        struct.pack("<I", table - (at + 4 + 4 * i)) for i in range(n)
    )
    shape = bytes([4, 0]) + struct.pack("<H", 8) + struct.pack("<H", 4)  # a vtable: one field
    vtable = table + 8
    plain += struct.pack("<iI", table - vtable, 12 + 2) + shape + bytes(2) + struct.pack("<I", 0)
    root = struct.unpack_from("<I", plain, 0)[0]
    fields = root - struct.unpack_from("<i", plain, root)[0]
    place = root + struct.unpack_from("<H", plain, fields + 4 + 2 * 4)[0]  # Model.buffers
    struct.pack_into("<I", plain, place, at - place)
    began = perf_counter()
    with pytest.raises(BadModel, match="overlap"):
        read(bytes(plain))
    assert perf_counter() - began < 5


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the MLPerf Tiny models are not at {SHARED}")
@pytest.mark.parametrize("name", ["ad_int8", "ic_float32", "ic_int8", "kws_hybrid", "kws_int8"])
def test_published_models_read_as_by_the_generated_classes(name: str) -> None:
    data = (SHARED / f"{name}.tflite").read_bytes()
    graph = read(data)
    tree = schema.ModelT.InitFromPackedBuf(data, 0)
    (other,) = tree.subgraphs
    assert [list(t.shape) for t in graph.tensors] == [list(t.shape) for t in other.tensors]
    assert [list(op.inputs) for op in graph.operators] == [list(o.inputs) for o in other.operators]
    for ours, theirs in zip(graph.tensors, other.tensors, strict=True):
        stored = tree.buffers[theirs.buffer].data
        assert (ours.data or b"") == (b"" if stored is None else bytes(stored))
