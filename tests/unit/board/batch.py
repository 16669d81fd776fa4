"""Many small models in one firmware: built once, run once, each compared with the reference.

cases = [Case(model, [[x.tobytes()]]) for ...]
for case, ours in zip(cases, run(cases, "cortex-m4", tmp_path)):
    assert ours == reference(case)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime

from trainshed.domain.board import Board, Memory
from trainshed.workloads.board.compiler.lower import compile_graph
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.facts.cores import CORES
from trainshed.workloads.board.firmware.build import COMPILER, build_all
from trainshed.workloads.board.model.graph import DType
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.target import console
from trainshed.workloads.board.target.machines import MACHINES
from trainshed.workloads.board.target.qemu import EMULATOR, command

ARENA_BYTES = 1 << 20
TIMEOUT_S = 300
#: Why nothing can be run here, or empty.
MISSING = ", ".join(name for name in (COMPILER, EMULATOR) if shutil.which(name) is None)

Answers = list[tuple[bytes, ...]]


@dataclass(frozen=True)
class Case:
    """A model file and its input sets, each the bytes of all inputs; as many sets in each case."""

    model: bytes
    inputs: list[list[bytes]]


@cache
def board(core: str) -> Board:
    """A board with the core and with all the memory of the emulated machine."""
    facts = CORES[core]
    one = boards()["nrf5340dk"]
    size = MACHINES[facts.machine].area_bytes
    return replace(
        one, name=f"test-{core}", machine=facts.machine, memory=Memory(size, size),
        core=replace(one.core, name=core, dsp=facts.dsp, fpu=facts.fpu),
        reserved_ram_bytes=64 * 1024,
    )  # fmt: skip


def run(cases: Sequence[Case], core: str, folder: Path) -> list[Answers]:
    """Return, for each case, for each of its input sets, the outputs of the compiled model."""
    target = board(core)
    programs: dict[str, Program] = {}
    for i, case in enumerate(cases):
        prefix = f"m{i:05d}_"
        programs[prefix] = compile_graph(read(case.model), target.core, prefix)
    firmware = build_all(programs, target, folder, None)
    n_sets = len(cases[0].inputs)
    assert all(len(case.inputs) == n_sets for case in cases)
    sets = [one for case in cases for one in case.inputs]
    head = console.input_file(cases[0].inputs, 1)[:8]
    body = b"".join(part for one in sets for part in one)
    (folder / console.INPUT).write_bytes(head + body)
    done = subprocess.run(
        command(target.machine, str(firmware.elf)), cwd=folder, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    console.parse(done.stdout + done.stderr, len(sets), 1)
    return _split((folder / console.OUTPUT).read_bytes(), list(programs.values()), n_sets)


def _split(data: bytes, programs: Sequence[Program], n_sets: int) -> list[Answers]:
    at = 0
    found: list[Answers] = []
    for program in programs:
        answers: Answers = []
        for _ in range(n_sets):
            parts: list[bytes] = []
            for port in program.outputs:
                parts.append(data[at : at + port.n_bytes])
                at += port.n_bytes
            answers.append(tuple(parts))
        found.append(answers)
    assert at == len(data)
    return found


def reference(case: Case) -> Answers:
    """What TensorFlow Lite Micro answers, in this process: the models are our own."""
    graph = read(case.model)
    interpreter: Any = runtime.Interpreter.from_bytes(case.model, arena_size=ARENA_BYTES)
    answers: Answers = []
    for one in case.inputs:
        for position, data in enumerate(one):
            tensor = graph.tensors[graph.inputs[position]]
            array = np.frombuffer(data, NUMPY[tensor.dtype]).reshape(tensor.shape)
            interpreter.set_input(array, position)
        interpreter.invoke()
        outputs = range(len(graph.outputs))
        answers.append(tuple(bytes(interpreter.get_output(i).tobytes()) for i in outputs))
    return answers


NUMPY = {
    DType.UINT8: np.uint8,
    DType.FLOAT32: np.float32,
    DType.INT8: np.int8,
    DType.INT32: np.int32,
}
