"""The emulator on a program written by hand, whose counts are known."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.board.hand_made import MISSING, N, program

from trainshed.domain.board import Board
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.firmware.build import build
from trainshed.workloads.board.target import console, counter, qemu
from trainshed.workloads.board.target.classes import classify
from trainshed.workloads.board.target.protocol import Execution, Firmware, TargetFailed, TooLong
from trainshed.workloads.board.target.qemu import Emulator

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

BOARD = boards()["nrf5340dk"]
INPUTS = [[bytes(range(100, 100 + N))], [bytes(N)]]


def linked(folder: Path, one: Program | None = None, board: Board = BOARD) -> Firmware:
    return build(one or program(), board, folder / "build", None)


def ran(folder: Path, one: Program | None = None, board: Board = BOARD) -> Execution:
    return Emulator(folder / "cache").run(
        linked(folder, one, board), board, INPUTS, 3, folder / "run"
    )


@pytest.mark.parametrize("name", ["nrf5340dk", "nucleo_g0b1re", "nrf52840dk", "disco_f746ng"])
def test_counts_are_exact(tmp_path: Path, name: str) -> None:
    board = boards()[name]
    execution = ran(tmp_path, board=board)
    copy, spin = execution.layers
    assert (copy.symbol, spin.symbol) == ("layer_00_copy", "layer_01_spin")
    # Two instructions a turn, and what is called counts as the layer's.
    assert 2 * 6000 <= spin.instructions <= 2 * 6000 + 16
    assert spin.classes["branch"] >= 6000
    assert all(sum(x.classes.values()) == x.instructions for x in execution.layers)
    total = sum(x.instructions for x in execution.layers) + execution.overhead
    assert total == execution.instructions
    assert 0 < execution.overhead < 100
    assert execution.outputs == tuple(
        (bytes(a ^ b for a, b in zip(one[0], range(N), strict=True)),) for one in INPUTS
    )
    assert 0 < execution.stack_high_water_bytes < board.reserved_ram_bytes


def test_a_second_run_is_the_same(tmp_path: Path) -> None:
    assert ran(tmp_path / "a") == ran(tmp_path / "b")


def test_more_work_is_counted(tmp_path: Path) -> None:
    few, many = ran(tmp_path / "a"), ran(tmp_path / "b", program(spins=5100))
    assert many.layers[1].instructions - few.layers[1].instructions == 200
    assert many.layers[0] == few.layers[0]


def test_one_flipped_weight_changes_the_output(tmp_path: Path) -> None:
    flipped = bytes([1, *range(1, N)])
    before, after = ran(tmp_path / "a"), ran(tmp_path / "b", program(weights=flipped))
    assert before.outputs[0][0][1:] == after.outputs[0][0][1:]
    assert before.outputs[0][0][0] != after.outputs[0][0][0]


def test_the_command_by_hand_gives_the_same_count(tmp_path: Path) -> None:
    firmware = linked(tmp_path)
    execution = Emulator().run(firmware, BOARD, INPUTS, 3, tmp_path / "run")
    folder = firmware.elf.parent
    (folder / console.INPUT).write_bytes(console.input_file(INPUTS, 3))
    done = subprocess.run(
        execution.command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60, check=True,
    )  # fmt: skip
    said = console.parse(done.stdout, len(INPUTS), 3)
    # The timer of this machine ticks at 20 MHz; an instruction takes 1024 ns.
    assert round(said.inferences[0, 0] * 50 / 1024) == execution.instructions
    assert (folder / console.OUTPUT).read_bytes() == b"".join(x[0] for x in execution.outputs)


def test_a_long_inference_is_counted_exactly(tmp_path: Path) -> None:
    """The timer would wrap at the usual speed, and is read between two of its ticks."""
    spins = 106_827_001
    firmware = linked(tmp_path, program(spins))
    execution = Emulator().run(firmware, BOARD, INPUTS[:1], 5, tmp_path / "run")
    assert 2 * spins < execution.layers[1].instructions < 2 * spins + 2100
    assert 0 < execution.overhead < 100


def test_an_inference_too_long_to_be_timed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLong, match=r"takes 1,7\d\d million .* at most 1,67\d million"):
        ran(tmp_path, program(860_000_000))


def test_what_each_layer_wrote(tmp_path: Path) -> None:
    data = Emulator().layer_outputs(linked(tmp_path), BOARD, INPUTS[0], tmp_path / "run")
    assert len(data) == 2 * N
    assert data[:N] == bytes(a ^ b for a, b in zip(INPUTS[0][0], range(N), strict=True))


def test_without_a_compiler_there_is_no_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = ran(tmp_path / "a")
    monkeypatch.setattr(counter, "COMPILER", "no-such-compiler")
    timed = ran(tmp_path / "b")
    assert all(not layer.classes for layer in timed.layers)
    for a, b in zip(counted.layers, timed.layers, strict=True):
        assert 0 <= b.instructions - a.instructions <= qemu.TIMER_ERROR
    assert timed.instructions == counted.instructions


def test_faults_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firmware = linked(tmp_path)
    with pytest.raises(TargetFailed, match="no emulated machine 'none'"):
        Emulator().run(firmware, replace(BOARD, machine="none"), INPUTS, 1, tmp_path / "a")
    with pytest.raises(TargetFailed, match="took longer"):
        Emulator(timeout_s=0.001).run(firmware, BOARD, INPUTS, 1, tmp_path / "b")
    short = replace(firmware, output_bytes=(N + 1,))
    with pytest.raises(TargetFailed, match="wrote 32 bytes, not 34"):
        Emulator().run(short, BOARD, INPUTS, 1, tmp_path / "c")
    with pytest.raises(TargetFailed, match="ended with 2"):  # fewer inputs than announced
        Emulator().run(firmware, BOARD, [[b"short"]], 1, tmp_path / "d")
    monkeypatch.setattr(qemu, "EMULATOR", "no-such-emulator")
    with pytest.raises(TargetFailed, match="not installed"):
        Emulator().run(firmware, BOARD, INPUTS, 1, tmp_path / "e")


def test_runs_that_differ_are_refused(tmp_path: Path) -> None:
    """A layer that keeps a state takes another time in the next inference."""
    text = (
        program().sources["model.c"].replace(b"spin(1000);", b"static uint32_t n = 9; spin(n++);")
    )
    unsteady = replace(program(), sources={**program().sources, "model.c": text})
    with pytest.raises(TargetFailed, match="did not take the same time"):
        ran(tmp_path, unsteady)


@pytest.mark.parametrize(
    ("mnemonic", "expected"),
    [
        ("add.w", "alu"), ("bic.w", "alu"), ("bfi", "alu"), ("it", "alu"), ("sxtb16", "alu"),
        ("b.n", "branch"), ("bls.n", "branch"), ("blx", "branch"), ("cbnz", "branch"),
        ("ldrsb.w", "ldr"), ("vldr", "ldr"), ("ldmia.w", "ldm"), ("pop", "ldm"), ("ldrd", "ldm"),
        ("strb", "str"), ("push", "stm"), ("smlad", "mac"), ("muls", "mac"), ("mla", "mac"),
        ("smull", "mul64"), ("smmlar", "mul64"), ("sdiv", "div"), ("vdiv.f32", "div"),
        ("vfma.f32", "fp"), ("vmul.f32", "fp"),
    ],
)  # fmt: skip
def test_classes(mnemonic: str, expected: str) -> None:
    assert classify(mnemonic) == expected
