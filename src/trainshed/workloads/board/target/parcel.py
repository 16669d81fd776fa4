"""What goes to a bench elsewhere and comes back: a line of JSON, then bytes in the order it says.

Both ends are Trainshed's of one version, but what is in between is not trusted: whatever arrives
is a whole parcel or a ValueError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainshed.workloads.board.target.protocol import Execution, Firmware, PowerTrace
from trainshed.workloads.board.target.windows import MAX_SAMPLES

MAX_HEAD = 64 * 1024
MAX_SETS, MAX_TENSORS, MAX_INFERENCES = 16, 64, 100


def pack_order(
    firmware: Firmware, board: str, inputs: Sequence[Sequence[bytes]], n_inferences: int
) -> bytes:
    """Return what a bench needs to run ``firmware`` on ``board``."""
    head = {
        "board": board, "n_inferences": n_inferences, "sha256": firmware.sha256,
        "output_bytes": firmware.output_bytes, "inputs": [[len(p) for p in one] for one in inputs],
    }  # fmt: skip
    return _pack(head, [firmware.elf.read_bytes(), *(part for one in inputs for part in one)])


def unpack_order(
    data: bytes, folder: Path
) -> tuple[str, Firmware, tuple[tuple[bytes, ...], ...], int]:
    """Return board, firmware (in ``folder``), input sets and number of inferences.

    Raises:
        ValueError: the parcel is broken.
    """
    head, parts = _unpack(data)
    board, sha256 = head.get("board"), head.get("sha256")
    if not isinstance(board, str) or not isinstance(sha256, str):
        raise ValueError("it names no board.")
    n_inferences = _count(head.get("n_inferences"), 1, MAX_INFERENCES)
    sizes = head.get("inputs")
    if not isinstance(sizes, list) or not 1 <= len(sizes) <= MAX_SETS:
        raise ValueError("it has no inputs.")
    elf, *rest = _split(parts, [None, *(size for one in sizes for size in _sizes(one))])
    each = iter(rest)
    inputs = tuple(tuple(next(each) for _ in one) for one in sizes)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.elf"
    path.write_bytes(elf)
    outputs = tuple(_sizes(head.get("output_bytes")))
    return board, Firmware(path, sha256, (), "", outputs), inputs, n_inferences


def pack_execution(seen: Execution) -> bytes:
    """Return what a real board did."""
    trace = seen.trace
    assert trace is not None
    currents = np.asarray(trace.currents_ua, dtype="<f4")
    head = {
        "stack": seen.stack_high_water_bytes, "n_inferences": seen.n_inferences,
        "seconds": seen.seconds, "step_ms": trace.step_ms, "samples": currents.shape[1],
        "outputs": [[len(part) for part in one] for one in seen.outputs],
    }  # fmt: skip
    return _pack(head, [currents.tobytes(), *(part for one in seen.outputs for part in one)])


def unpack_execution(data: bytes) -> Execution:
    """Return what a real board did; its instructions are not counted.

    Raises:
        ValueError: the parcel is broken, or says what no board can do.
    """
    head, parts = _unpack(data)
    n_inferences = _count(head.get("n_inferences"), 1, MAX_INFERENCES)
    samples = _count(head.get("samples"), 1, MAX_SAMPLES)
    seconds, sizes = head.get("seconds"), head.get("outputs")
    if not isinstance(seconds, list) or len(seconds) != n_inferences:
        raise ValueError("it lacks times.")
    if not isinstance(sizes, list) or not 1 <= len(sizes) <= MAX_SETS:
        raise ValueError("it lacks outputs.")
    raw, *rest = _split(parts, [None, *(size for one in sizes for size in _sizes(one))])
    if len(raw) != 4 * samples * n_inferences:
        raise ValueError("its trace is cut.")
    with np.errstate(invalid="ignore"):  # looked at next
        currents = np.frombuffer(raw, "<f4").astype(float).reshape(n_inferences, samples)
    if not np.isfinite(currents).all():
        raise ValueError("its trace is no trace.")
    each = iter(rest)
    return Execution(
        outputs=tuple(tuple(next(each) for _ in one) for one in sizes),
        instructions=0,
        layers=(),
        overhead=0,
        stack_high_water_bytes=_count(head.get("stack"), 0, 2**32),
        n_inferences=n_inferences,
        seconds=tuple(_positive(one) for one in seconds),
        trace=PowerTrace(_positive(head.get("step_ms")), currents.tolist()),
    )


def _pack(head: dict[str, Any], parts: Sequence[bytes]) -> bytes:
    line = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((line, b"\n", *parts))


def _unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, parts = data.partition(b"\n")
    head = json.loads(line) if len(line) <= MAX_HEAD else None
    if not isinstance(head, dict):
        raise ValueError("it is no parcel.")
    return head, parts


def _split(data: bytes, sizes: Sequence[int | None]) -> list[bytes]:
    """Return parts of these sizes, the one that is None having what is left for it."""
    known = sum(size for size in sizes if size is not None)
    if known > len(data):
        raise ValueError("it is cut.")
    out, at = [], 0
    for size in sizes:
        length = len(data) - known if size is None else size
        out.append(data[at : at + length])
        at += length
    return out


def _sizes(value: object) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_TENSORS:
        raise ValueError("it has no sizes.")
    return [_count(one, 0, 2**31) for one in value]


def _count(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError("a number in it is wrong.")
    return value


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError("a number in it is wrong.")
    return float(value)
