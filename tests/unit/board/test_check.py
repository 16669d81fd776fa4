"""What the check says of a model and a board, and that it says it of the right ones only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from tests.unit.board.make_model import Maker, cnn, small_cnn
from tests.unit.board.random_graphs import Drawn, graphs

from trainshed.domain.board import Board
from trainshed.workloads.board.check.__main__ import board_of, inspect
from trainshed.workloads.board.check.rules import MAX_FINDINGS, check
from trainshed.workloads.board.compiler.lower import compile_graph
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.firmware.build import build
from trainshed.workloads.board.model.reader import read

SHARED = Path(__file__).parents[4] / "shared" / "data" / "mlperf_tiny"
BOARD = boards()["nrf5340dk"]
NO_MODELS = f"the MLPerf Tiny models are not at {SHARED}"
INT8 = {"scale": 0.1}


def sized(ram: int = BOARD.memory.ram_bytes, flash: int = BOARD.memory.flash_bytes) -> Board:
    return replace(BOARD, memory=replace(BOARD.memory, ram_bytes=ram, flash_bytes=flash))


def one(
    kind: str, inputs: Sequence[Any], output: Sequence[int], version: int = 1, dtype: str = "int8",
    **options: Any,
) -> bytes:  # fmt: skip
    """A model of one operator: a tuple is a tensor's shape, an array a constant, -1 is absent."""
    m = Maker()
    scale = INT8 if dtype == "int8" else {}
    made: list[int] = []
    for part in inputs:
        if isinstance(part, tuple):
            made.append(m.tensor(part, dtype, **scale))
        elif isinstance(part, np.ndarray):
            made.append(m.constant(part, **(scale if part.dtype == np.int8 else {})))
        else:
            made.append(part)
    y = m.tensor(output, dtype, **scale)
    m.operator(kind, made, [y], version, **options)
    computed = [t for t in made if t >= 0 and m.graph.tensors[t].buffer == 0]
    return m.pack(computed, [y])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int8)


def error(data: bytes, board: Board = BOARD, code: str = "operator_not_supported") -> str:
    """Return the text of the first error, which has this code."""
    report = inspect(data, board, quantize=False)
    assert not report.valid
    assert report.errors[0].code == code
    return report.errors[0].message


def test_a_good_model_is_valid_and_measured() -> None:
    graph = read(small_cnn())
    report = check(graph, BOARD)
    assert (report.valid, report.errors, report.warnings) == (True, (), ())
    needs, program = report.estimate, compile_graph(graph, BOARD.core)
    assert needs is not None
    assert needs.arena_bytes == program.arena_bytes
    assert needs.macs == 6 * 5 * 27 * 8 + 6 * 5 * 9 * 8 + 4 * 8
    assert needs.n_operators == 5
    assert 352 < needs.flash_bytes < 12_000


def test_one_kilobyte_too_little_ram_is_refused_with_both_numbers() -> None:
    needs = check(read(small_cnn()), BOARD).estimate
    assert needs is not None
    just = needs.arena_bytes + BOARD.reserved_ram_bytes
    assert check(read(small_cnn()), sized(ram=just)).valid
    text = error(small_cnn(), sized(ram=just - 1024), "arena_too_large")
    assert f"needs {needs.arena_bytes / 1024:.1f} KB of RAM for the tensor arena" in text
    assert f"nrf5340dk has {(needs.arena_bytes - 1024) / 1024:.1f} KB" in text
    closest = error(small_cnn(), sized(ram=just - 1), "arena_too_large")
    assert f"{needs.arena_bytes} bytes" in closest
    assert f"{needs.arena_bytes - 1} bytes" in closest


def test_one_kilobyte_too_little_flash_is_refused_with_both_numbers() -> None:
    needs = check(read(small_cnn()), BOARD).estimate
    assert needs is not None
    assert check(read(small_cnn()), sized(flash=needs.flash_bytes)).valid
    text = error(small_cnn(), sized(flash=needs.flash_bytes - 1024), "flash_too_large")
    assert f"{needs.flash_bytes / 1024:.1f} KB of flash" in text
    assert f"{(needs.flash_bytes - 1024) / 1024:.1f} KB." in text


def test_the_sizes_said_before_are_no_larger_than_the_linked_ones(tmp_path: Path) -> None:
    """A model is not refused for memory that it would not have taken."""
    for number, data in enumerate((small_cnn(), one("RELU", [(1, 4)], (1, 4)))):
        graph = read(data)
        needs = check(graph, BOARD).estimate
        assert needs is not None
        built = build(compile_graph(graph, BOARD.core), BOARD, tmp_path / str(number), None)
        with built.elf.open("rb") as file:
            sections = [
                (s["sh_flags"], s["sh_type"], s["sh_size"]) for s in ELFFile(file).iter_sections()
            ]
        flash = sum(n for flags, kind, n in sections if flags & 2 and kind != "SHT_NOBITS")
        ram = sum(n for flags, kind, n in sections if flags & 2 and kind == "SHT_NOBITS")
        assert needs.flash_bytes <= flash < needs.flash_bytes + 8192
        assert needs.arena_bytes < ram <= needs.arena_bytes + BOARD.reserved_ram_bytes


def test_a_refused_size_still_has_its_estimate() -> None:
    report = check(read(small_cnn()), sized(ram=BOARD.reserved_ram_bytes))
    assert report.estimate is not None
    assert report.estimate.arena_bytes > 0
    assert report.estimate.macs is None  # unknown, which is not none at all


@pytest.mark.parametrize(
    ("side", "said"),
    [(16, "about 23 million instructions."), (128, "about 1,463 million instructions, which may")],
)
def test_float32_without_a_floating_point_unit_says_what_it_costs(side: int, said: str) -> None:
    shape = (1, side, side, 8)
    graph = read(
        one("CONV_2D", [shape, np.ones((8, 3, 3, 8), np.float32)], shape, 1, "float32",
            padding="SAME", stride_w=1, stride_h=1)
    )  # fmt: skip
    board = sized(ram=1 << 23)
    (warned,) = check(graph, replace(board, core=replace(board.core, fpu=False))).warnings
    assert warned.code == "float_model"
    assert said in warned.message
    (warned,) = check(graph, board).warnings
    assert "floating-point unit" not in warned.message


@pytest.mark.parametrize(
    ("kind", "version", "advice"),
    [
        ("SIN", 1, "not supported; supported are"),
        ("MyOp", 3, "CUSTOM:MyOp version 3"),
        ("WHILE", 1, "control flow cannot run"),
        ("LSTM", 1, "unroll the recurrence"),
        ("RELU", 99, "version 99"),
    ],
)
def test_an_unknown_operator_is_named(kind: str, version: int, advice: str) -> None:
    text = error(one(kind, [(1, 4)], (1, 4), version))
    assert text.startswith(f"Operator 0, {'CUSTOM:' if kind == 'MyOp' else ''}{kind} version")
    assert advice in text
    assert "tensor 1 ('t1')" in text


def test_a_hybrid_model_has_its_own_message() -> None:
    m = Maker()
    x, y = m.tensor((1, 4), "float32"), m.tensor((1, 2), "float32")
    m.operator("FULLY_CONNECTED", [x, m.constant(weights(2, 4), 0.1), -1], [y])
    text = error(m.pack([x], [y]), code="hybrid_model")
    assert "FULLY_CONNECTED 0 has int8 weights but float32 inputs" in text


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [("float16", "without float16"), ("uint8", "old uint8"), ("int16", "is int16")],
)
def test_types_that_no_kernel_takes(dtype: str, advice: str) -> None:
    assert advice in error(one("RELU", [(1, 4)], (1, 4), dtype=dtype))


def _change_first(attribute: str, value: Any) -> Callable[[Maker], None]:
    return lambda m: setattr(m.graph.tensors[0], attribute, value)


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (_change_first("quantization", None), "int8 without a scale"),
        (lambda m: setattr(m.graph.tensors[0].quantization, "zeroPoint", [300]), "-128 to 127"),
        (lambda m: setattr(m.graph.tensors[0].quantization, "scale", [0.0]), "scale of 0"),
        (lambda m: setattr(m.graph.tensors[0].quantization, "scale", [1e30]), "no kernel can work"),
        (_change_first("shape", [1, 0, 10, 3]), "is empty"),
        (lambda m: setattr(m.graph.tensors[3], "isVariable", True), "writes tensor 3"),
    ],
)
def test_tensors_that_no_kernel_takes(change: Callable[[Maker], None], advice: str) -> None:
    m = cnn(np.random.default_rng(0))
    change(m)
    report = inspect(m.pack([0], m.graph.operators[-1].outputs), BOARD, quantize=False)
    assert advice in report.errors[0].message


CONV = {"padding": "VALID", "stride_w": 1, "stride_h": 1}
POOL = {**CONV, "filter_width": 2, "filter_height": 2}
DEPTH = {**CONV, "depth_multiplier": 1}
FILTERS = weights(2, 3, 3, 2)
MISFITS = {
    "conv declares too little": (
        one("CONV_2D", [(1, 5, 5, 2), FILTERS, -1], (1, 2, 3, 2), **CONV), "gives [1, 3, 3, 2]",
    ),
    "conv without stride": (
        one("CONV_2D", [(1, 5, 5, 2), FILTERS, -1], (1, 3, 3, 2), **{**CONV, "stride_w": 0}),
        "stride_w is 0",
    ),
    "filter larger than the image": (
        one("CONV_2D", [(1, 2, 2, 2), FILTERS, -1], (1, 1, 1, 2), **CONV), "does not fit into 2",
    ),
    "channels": (
        one("CONV_2D", [(1, 5, 5, 3), FILTERS, -1], (1, 3, 3, 2), **CONV), "do not fit 3 channels",
    ),
    "bias": (
        one("CONV_2D", [(1, 5, 5, 2), FILTERS, ints(1, 2, 3)], (1, 3, 3, 2), **CONV), "3 values",
    ),
    "no inputs": (one("CONV_2D", [(1, 5, 5, 2)], (1, 3, 3, 2), **CONV), "1 inputs, not 2 to 3"),
    "depthwise without bias": (
        one("DEPTHWISE_CONV_2D", [(1, 5, 5, 2), weights(1, 3, 3, 2), -1], (1, 3, 3, 2), **DEPTH),
        "add a bias of zeros",
    ),
    "pool": (one("MAX_POOL_2D", [(1, 4, 4, 2)], (1, 4, 4, 2), **POOL), "gives [1, 3, 3, 2]"),
    "dense": (
        one("FULLY_CONNECTED", [(1, 9), weights(2, 4), -1], (1, 2)), "do not divide into rows",
    ),
    "dense declares too much": (
        one("FULLY_CONNECTED", [(1, 8), weights(2, 4), -1], (4, 2)), "gives [2, 2]",
    ),
    "add": (one("ADD", [(1, 3), (1, 4)], (1, 4)), "cannot be combined"),
    "concatenation": (
        one("CONCATENATION", [(1, 3), (1, 4)], (1, 8), axis=1), "gives [1, 7]",
    ),
    "axis": (one("CONCATENATION", [(1, 3), (1, 4)], (1, 7), axis=5), "axis 5"),
    "pad": (one("PAD", [(1, 3), ints(0, 0)], (1, 3)), "do not fit 2 dimensions"),
    "reshape": (one("RESHAPE", [(1, 6), ints(2, 4)], (2, 4)), "6 values do not make"),
    "transpose": (one("TRANSPOSE", [(2, 3), ints(0, 0)], (2, 2)), "no order"),
    "mean": (one("MEAN", [(1, 4, 4, 2), ints(1, 2)], (1, 4), keep_dims=False), "gives [1, 2]"),
    "dynamic shape": (one("PAD", [(1, 3), (2, 2)], (1, 3)), "dynamic"),
    "softmax": (one("SOFTMAX", [(1, 4)], (1, 5), beta=1.0), "gives [1, 4]"),
    "split": (one("SPLIT", [ints(1), (1, 4)], (1, 2), num_splits=2), "into 2 outputs"),
    "slice": (
        one("STRIDED_SLICE", [(1, 4), ints(0, 0), ints(1, 4), ints(1, 0)], (1, 4)), "stride of",
    ),
    "resize": (
        one("RESIZE_NEAREST_NEIGHBOR", [(1, 2, 2, 1), ints(4, 4)], (1, 4, 5, 1)), "gives [1, 4, 4",
    ),
    "transposed": (
        one("TRANSPOSE_CONV", [ints(1, 6, 6, 2), FILTERS, (1, 3, 3, 2)], (1, 6, 6, 2),
            padding="SAME", stride_w=1, stride_h=1), "does not come from",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_together_is_said(what: str) -> None:
    data, text = MISFITS[what]
    assert text in error(data)


@settings(max_examples=60, deadline=None, database=None)
@given(graphs())
def test_what_compiles_is_valid_and_what_is_valid_compiles(drawn: Drawn) -> None:
    graph = read(drawn.model)
    report, program = check(graph, BOARD), compile_graph(graph, BOARD.core)
    if not program.layers:
        assert [one.code for one in report.errors] == ["empty_model"]
        return
    assert report.errors == ()
    assert report.estimate is not None
    assert program.arena_bytes == report.estimate.arena_bytes


def test_a_model_full_of_faults_gets_a_bounded_report() -> None:
    m = Maker()
    x = last = m.tensor((1, 4), **INT8)
    for _ in range(100):
        after = m.tensor((1, 4), **INT8)
        m.operator("SIN", [last], [after])
        last = after
    assert len(inspect(m.pack([x], [last]), BOARD, quantize=False).errors) == MAX_FINDINGS


def test_quantising_is_checked_before_it_is_done() -> None:
    done = inspect(small_cnn(), BOARD, quantize=True)
    assert done.errors[0].code == "already_quantized"
    assert "quantize=False" in done.errors[0].message
    data = one("RELU", [(1, 4000)], (1, 4000), dtype="float32")
    report = inspect(data, BOARD, quantize=True)
    assert report.valid
    assert [w.code for w in report.warnings] == ["calibration_synthesised"]
    assert report.estimate is not None
    assert report.estimate.arena_bytes == 8000
    small = sized(ram=BOARD.reserved_ram_bytes + 7000)
    assert inspect(data, small, quantize=True).errors[0].code == "arena_too_large"
    assert "SIN version 1" in (
        inspect(one("SIN", [(1, 4)], (1, 4), dtype="float32"), BOARD, quantize=True)
        .errors[0].message
    )  # fmt: skip


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainshed.workloads.board.check.quantized.find_spec", lambda name: None)
    data = one("RELU", [(1, 4)], (1, 4), dtype="float32")
    (finding,) = inspect(data, BOARD, quantize=True).errors
    assert finding.code == "quantize_not_installed"
    assert "pip install 'trainshed[quantize]'" in finding.message


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_MODELS)
@pytest.mark.parametrize(
    ("name", "arena", "macs"),
    [("kws_int8", 16_256, 2_656_768), ("ad_int8", 4_096, 264_192), ("ic_int8", 51_456, 12_501_632)],
)
def test_published_models_are_valid(name: str, arena: int, macs: int) -> None:
    report = inspect((SHARED / f"{name}.tflite").read_bytes(), BOARD, quantize=False)
    assert report.valid
    assert report.estimate is not None
    assert report.estimate.macs == macs
    assert report.estimate.arena_bytes <= arena


@pytest.mark.skipif(not SHARED.is_dir(), reason=NO_MODELS)
def test_the_published_hybrid_is_told_apart() -> None:
    assert "hybrid" in error((SHARED / "kws_hybrid.tflite").read_bytes(), code="hybrid_model")


def ask(*arguments: str, message: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-m", "trainshed.workloads.board.check", *arguments]
    return subprocess.run(command, input=message, capture_output=True, timeout=60, check=False)


def test_the_command_prints_json() -> None:
    good = ask("nrf5340dk", message=small_cnn())
    assert (good.returncode, json.loads(good.stdout)["valid"]) == (0, True)
    bad = ask("nrf5340dk", message=b"hello")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["errors"][0]["code"] == "invalid_model"
    nowhere = ask("toaster", message=b"")
    assert nowhere.returncode == 2
    assert b"There is no board 'toaster'; there is: " in nowhere.stderr


def test_a_board_survives_the_way_to_the_child() -> None:
    sent = json.loads(json.dumps(asdict(BOARD)))
    assert BOARD.wiring is not None
    assert asdict(board_of(sent)) == asdict(BOARD) | {
        "notes": list(BOARD.notes),
        "timing": asdict(BOARD.timing) | {"calibrated_on": list(BOARD.timing.calibrated_on)},
        "wiring": asdict(BOARD.wiring) | {"setup": [list(pair) for pair in BOARD.wiring.setup]},
    }
