"""The reference: TensorFlow Lite Micro in a child process, because some models crash it.

``python -m trainshed.workloads.board.oracle`` is that child. It reads a header line of JSON, the
model and the inputs from its standard input, and answers a header line and the tensors.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np

from trainshed.workloads.board.model.graph import DType, Graph
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.model.rewrite import portable

TIMEOUT_S = 120
#: The largest difference of float32 results, relative to the largest value of the tensor.
FLOAT_TOLERANCE = 1e-5
_MAX_ARENA = 1 << 30
_ARENA_TRIES = 3
_MAX_WORDS = 2000
_MODULE = "trainshed.workloads.board.oracle"


class ReferenceFailed(Exception):
    """TensorFlow Lite Micro refused or could not run the model; the text has its own words."""


def run_reference(
    model: bytes, inputs: Sequence[Sequence[bytes]], timeout_s: float = TIMEOUT_S
) -> tuple[tuple[bytes, ...], ...]:
    """Return per input set the outputs' bytes, both in the model's order.

    Raises:
        BadModel: as `read`.
        ReferenceFailed: it has no result for this model.
    """
    return _ask(model, inputs, read(model).outputs, whole=False, timeout_s=timeout_s)


def first_difference(
    model: bytes, inputs: Sequence[bytes], outputs_of: Callable[[int], bytes | None]
) -> int | None:
    """Return the index of the first operator whose first output differs, or None.

    ``inputs``: one set. ``outputs_of``: operator index -> the bytes compared, None to leave it out.

    Raises:
        BadModel, ReferenceFailed: as `run_reference`.
    """
    graph = read(model)
    wanted = [op.outputs[0] for op in graph.operators if op.outputs]
    (theirs,) = _ask(model, [inputs], wanted, whole=True, timeout_s=TIMEOUT_S)
    reference = dict(zip(wanted, theirs, strict=True))
    for op in graph.operators:
        ours = outputs_of(op.index) if op.outputs else None
        if ours is None:
            continue
        if not agrees(graph.tensors[op.outputs[0]].dtype, ours, reference[op.outputs[0]]):
            return op.index
    return None


def agrees(dtype: DType, ours: bytes, reference: bytes) -> bool:
    """Whether two results are the same: every byte, or for float32 within `FLOAT_TOLERANCE`."""
    if dtype != DType.FLOAT32 or len(ours) != len(reference):
        return ours == reference
    a, b = np.frombuffer(ours, "<f4"), np.frombuffer(reference, "<f4")
    usual = np.isfinite(b)
    if not np.array_equal(a[~usual], b[~usual], equal_nan=True):
        return False
    peak = float(np.max(np.abs(b[usual]), initial=0.0))
    return bool(np.all(np.abs(a[usual] - b[usual]) <= FLOAT_TOLERANCE * peak))


def _ask(
    model: bytes, inputs: Sequence[Sequence[bytes]], tensors: Sequence[int], *, whole: bool,
    timeout_s: float,
) -> tuple[tuple[bytes, ...], ...]:  # fmt: skip
    """Run the child. ``whole``: keep all tensors and return ``tensors`` instead of the outputs."""
    graph = read(model)
    body = portable(model)
    header = {
        "model": len(body), "tensors": list(tensors) if whole else None,
        "n_outputs": len(graph.outputs), "arena": _arena(graph),
        "inputs": [[graph.tensors[i].dtype, list(graph.tensors[i].shape)] for i in graph.inputs],
        "sets": len(inputs),
    }  # fmt: skip
    for one in inputs:
        if [len(part) for part in one] != [graph.tensors[i].n_bytes for i in graph.inputs]:
            raise ValueError("The inputs are not of the sizes that the model wants.")
    parts = [json.dumps(header).encode(), b"\n", body, *(p for one in inputs for p in one)]
    command = [sys.executable, "-I", "-m", _MODULE]
    try:
        done = subprocess.run(
            command, input=b"".join(parts), capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ReferenceFailed(
            f"TensorFlow Lite Micro did not end within {timeout_s:.0f} s on this model."
        ) from error
    return _answer(done, graph, tensors)


def _arena(graph: Graph) -> int:
    return 2**20 + 4 * sum(t.n_bytes for t in graph.tensors if t.data is None) + graph.n_bytes


def _answer(
    done: subprocess.CompletedProcess[bytes], graph: Graph, tensors: Sequence[int]
) -> tuple[tuple[bytes, ...], ...]:
    head, _, rest = done.stdout.partition(b"\n")
    if done.returncode or not head:
        raise ReferenceFailed(_crash(done))
    answer = json.loads(head)
    if answer["error"]:
        raise ReferenceFailed(f"TensorFlow Lite Micro cannot run the model: {answer['error']}")
    sizes = [graph.tensors[i].n_bytes for i in tensors]
    if len(rest) != answer["sets"] * sum(sizes):
        raise ReferenceFailed("TensorFlow Lite Micro gave results of other sizes than declared.")
    found = []
    at = 0
    for _ in range(answer["sets"]):
        ends = [at + sum(sizes[: i + 1]) for i in range(len(sizes))]
        found.append(tuple(rest[e - n : e] for e, n in zip(ends, sizes, strict=True)))
        at += sum(sizes)
    return tuple(found)


def _crash(done: subprocess.CompletedProcess[bytes]) -> str:
    words = done.stderr.decode("utf-8", "replace").strip()[-_MAX_WORDS:]
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"TensorFlow Lite Micro crashed on this model ({name}). {words}".strip()
    return f"The reference could not be run: {words or f'exit {done.returncode}'}"


def main() -> None:
    """Be the child."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, answer = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    header = json.loads(source.readline())
    model = source.read(header["model"])
    # The library prints from C on both, so both go to a file that is shown when it fails.
    with tempfile.TemporaryFile() as words:
        kept = os.dup(2)
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
        try:
            results, error = _run(header, model, source), ""
        except (RuntimeError, ValueError) as failure:
            results, error = [], _said(words) or str(failure)
        os.dup2(kept, 2)
    answer.write(json.dumps({"error": error, "sets": header["sets"]}).encode() + b"\n")
    answer.write(b"".join(results))
    answer.close()


def _said(words: IO[bytes]) -> str:
    words.seek(max(0, words.seek(0, os.SEEK_END) - _MAX_WORDS))
    lines = [line.strip() for line in words.read().decode("utf-8", "replace").splitlines()]
    return " ".join(dict.fromkeys(line for line in lines if line))


def _run(header: dict[str, Any], model: bytes, source: IO[bytes]) -> list[bytes]:
    interpreter = _interpreter(model, header["arena"], header["tensors"] is not None)
    results: list[bytes] = []
    for _ in range(header["sets"]):
        for index, (dtype, shape) in enumerate(header["inputs"]):
            empty = np.zeros(shape, np.dtype(dtype.lower()))
            data = np.frombuffer(source.read(empty.nbytes), empty.dtype).reshape(shape)
            interpreter.set_input(data, index)
        interpreter.invoke()
        if header["tensors"] is None:
            found = [interpreter.get_output(i) for i in range(header["n_outputs"])]
        else:
            found = [interpreter.GetTensor(t, 0)["tensor_data"] for t in header["tensors"]]
        results += [np.ascontiguousarray(array).tobytes() for array in found]
    return results


def _interpreter(model: bytes, arena: int, whole: bool) -> Any:
    """Return the interpreter, with an arena as large as it takes."""
    from tflite_micro.python.tflite_micro import runtime

    config = runtime.InterpreterConfig
    for attempt in range(_ARENA_TRIES):
        size = min(arena * 8**attempt, _MAX_ARENA)
        try:
            return runtime.Interpreter.from_bytes(
                model, arena_size=size,
                intrepreter_config=(
                    config.kPreserveAllTensors if whole else config.kAllocationRecording
                ),
            )  # fmt: skip
        except RuntimeError:
            if attempt == _ARENA_TRIES - 1 or size == _MAX_ARENA:
                raise
    raise AssertionError("not reached")


if __name__ == "__main__":
    main()
