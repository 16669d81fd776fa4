"""Random models of all operators against TensorFlow Lite Micro, many to a firmware.

int8 results agree in every byte; so do those of float32, but where the C library's exp or tanh
comes in: these agree within the tolerance of the oracle.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.unit.board import batch
from tests.unit.board.random_graphs import Drawn, graphs

from trainshed.workloads.board.compiler.entry import Unsupported
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.oracle import agrees

SOAK = bool(os.environ.get("TRAINSHED_SOAK"))
PER_FIRMWARE = 100
#: Core, how many graphs, and a seed of its own.
SIZES = (
    (("cortex-m33", 4000, 1), ("cortex-m4", 3000, 2), ("cortex-m3", 1500, 3),
     ("cortex-m0plus", 1500, 4))
    if SOAK
    else (("cortex-m33", 200, 1), ("cortex-m4", 100, 2), ("cortex-m3", 100, 3),
          ("cortex-m0plus", 100, 4))
)  # fmt: skip
QUIET = settings(
    database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)

Answers = list[batch.Answers]


@pytest.mark.skipif(bool(batch.MISSING), reason=f"{batch.MISSING} not installed")
@pytest.mark.parametrize(("core", "n", "number"), SIZES)
def test_random_graphs_agree_with_the_reference(
    core: str, n: int, number: int, tmp_path: Path
) -> None:
    print(f"seed {number}")
    drawn = draw(n, number)
    references = in_child(drawn)
    wrong: list[str] = []
    for at in range(0, n, PER_FIRMWARE):
        some = drawn[at : at + PER_FIRMWARE]
        ours = compiled(some, core, tmp_path / f"{at}")
        for case, mine, theirs in zip(some, ours, references[at:], strict=False):
            wrong += [f"{case.text}\n  {w}" for w in differences(case, mine, theirs)]
    assert not wrong, f"{len(wrong)} results differ; the shortest:\n{min(wrong, key=len)}"


def draw(n: int, number: int) -> list[Drawn]:
    """The same n graphs for the same number."""
    found: list[Drawn] = []

    @seed(number)
    @settings(QUIET, max_examples=n)
    @given(graphs())
    def gather(case: Drawn) -> None:
        found.append(case)

    gather()
    return found


def compiled(drawn: Sequence[Drawn], core: str, folder: Path) -> Answers:
    """What the firmware answers; a graph that is not compiled fails with its text."""
    target = batch.board(core)
    for case in drawn:
        try:
            batch.compile_graph(read(case.model), target.core)
        except Unsupported as refused:
            raise AssertionError(f"refused: {refused}\n{case.text}") from refused
    return batch.run([_case(one) for one in drawn], core, folder)


def _case(drawn: Drawn) -> batch.Case:
    return batch.Case(drawn.model, [list(drawn.inputs)])


def differences(case: Drawn, ours: batch.Answers, theirs: batch.Answers) -> list[str]:
    """What is wrong with each output, in a sentence."""
    graph = read(case.model)
    found = []
    for tensor, exact, a, b in zip(graph.outputs, case.exact, ours[0], theirs[0], strict=True):
        dtype = graph.tensors[tensor].dtype
        if a != b and (exact or not agrees(dtype, a, b)):
            found.append(f"t{tensor} is {_shown(dtype, a)}, not {_shown(dtype, b)}")
    return found


def _shown(dtype: str, data: bytes) -> str:
    return str(np.frombuffer(data, np.dtype(dtype.lower()))[:12].tolist())


def in_child(drawn: Sequence[Drawn]) -> Answers:
    """What the reference answers; in a process of its own, because it may crash."""
    answers: Answers = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        asked = [pool.submit(batch.reference, _case(one)) for one in drawn]
        for case, answer in zip(drawn, asked, strict=True):
            try:
                answers.append(answer.result(timeout=300))
            except (BrokenProcessPool, RuntimeError) as error:
                raise AssertionError(f"the reference refused: {error}\n{case.text}") from error
    return answers
