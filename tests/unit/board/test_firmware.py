"""Building a firmware: the same image each time, kept by content, refused when it does not fit."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.board.batch import MISSING, Case, board, reference, run
from tests.unit.board.make_model import Maker

from trainshed.domain.board import Memory
from trainshed.workloads.board.compiler.lower import compile_graph
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.firmware.build import BuildFailed, TooLarge, build
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.target import console
from trainshed.workloads.board.target.qemu import Emulator, command

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

CORE = "cortex-m33"
WEIGHTS = (np.arange(32 * 32, dtype=np.int64).reshape(32, 32) % 251 - 125).astype(np.int8)


def model(weights: np.ndarray = WEIGHTS) -> bytes:
    """A matrix product and the softmax of it."""
    m = Maker()
    x, y = m.tensor((1, 32), scale=0.05), m.tensor((1, 32), scale=0.05)
    z = m.tensor((1, 32), scale=1 / 256, zero=-128)
    m.operator("FULLY_CONNECTED", [x, m.constant(weights, 0.02)], [y])
    m.operator("SOFTMAX", [y], [z], beta=1.0)
    return m.pack([x], [z])


def program() -> Program:
    return compile_graph(read(model()), board(CORE).core)


def size_of(elf: Path) -> tuple[int, int]:
    """Bytes of flash and of RAM without the stack, as binutils says."""
    shown = subprocess.run(
        ["arm-none-eabi-size", str(elf)], capture_output=True, text=True, check=True
    )
    text, data, bss = (int(n) for n in shown.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss


def test_the_image_depends_on_its_content_only(tmp_path: Path) -> None:
    one = build(program(), board(CORE), tmp_path / "a", None)
    two = build(program(), board(CORE), tmp_path / "some" / "other", None)
    assert one.elf.read_bytes() == two.elf.read_bytes()
    assert one.sha256 == two.sha256
    assert str(tmp_path).encode() not in one.elf.read_bytes()
    assert "-O3" in one.flags
    assert "12." in one.compiler or "gcc" in one.compiler


def test_the_same_content_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    one = build(program(), board(CORE), tmp_path / "a", cache)
    (kept,) = cache.iterdir()

    def refuse(*args: object, **kwargs: object) -> None:
        raise BuildFailed("compiled again")

    monkeypatch.setattr("trainshed.workloads.board.firmware.build._compile", refuse)
    assert build(program(), board(CORE), tmp_path / "b", cache).sha256 == one.sha256
    changed = WEIGHTS.copy()
    changed[3, 4] += 1
    other = compile_graph(read(model(changed)), board(CORE).core)
    with pytest.raises(BuildFailed, match="compiled again"):
        build(other, board(CORE), tmp_path / "c", cache)
    assert list(cache.iterdir()) == [kept]


@pytest.mark.parametrize("area", ["flash", "RAM"])
def test_a_board_a_kilobyte_too_small_is_refused_with_both_numbers(
    area: str, tmp_path: Path
) -> None:
    target = board(CORE)
    flash, ram = size_of(build(program(), target, tmp_path / "a", None).elf)
    enough = Memory(flash + 64, ram + 8)
    build(program(), replace(target, memory=enough), tmp_path / "b", None)
    small = Memory(flash - 1024, ram) if area == "flash" else Memory(flash + 64, ram - 1024)
    with pytest.raises(TooLarge, match=area) as refused:
        build(program(), replace(target, memory=small), tmp_path / "c", None)
    available = small.flash_bytes if area == "flash" else small.ram_bytes
    assert refused.value.available_bytes == available
    assert available < refused.value.needed_bytes <= available + 1024 + 64


def test_a_changed_weight_changes_the_answer_as_the_reference_says(tmp_path: Path) -> None:
    changed = WEIGHTS.copy()
    changed[5] = -changed[5]
    inputs = [[np.full(32, 2, np.int8).tobytes()]]
    cases = [Case(model(), inputs), Case(model(changed), inputs)]
    ours = run(cases, CORE, tmp_path)
    assert ours[0] != ours[1]
    assert ours == [reference(case) for case in cases]


def test_the_image_runs_by_hand_and_shows_what_each_layer_made(tmp_path: Path) -> None:
    """Zeros when there is no input; with inspect.bin, the first output of each layer."""
    target, made = board(CORE), program()
    firmware = build(made, target, tmp_path, None)
    (tmp_path / "inspect.bin").write_bytes(b"")
    done = subprocess.run(
        command(target.machine, "firmware.elf"), cwd=tmp_path, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    said = console.parse(done.stdout + done.stderr, 1, 10)
    assert len(said.layers) == len(made.layers) == 2
    assert 0 < said.stack_bytes < 4096
    layers = (tmp_path / "inspect.bin").read_bytes()
    assert len(layers) == sum(port.n_bytes for port in made.outputs_of)
    assert layers[-32:] == (tmp_path / console.OUTPUT).read_bytes()
    counted = Emulator().run(firmware, target, [[bytes(32)]], 3, tmp_path / "run")
    assert counted.instructions == round(said.inferences[0, 0] * 1e9 / (1024 * 20_000_000))
