"""Mutated files never crash or hang the check: each gets a report, in bounded time.

2,000 files here, 100,000 under ``make soak``; the seed of a failure is in its message.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
from tests.unit.board.make_model import small_cnn

from trainshed.bootstrap.inspector import Inspector
from trainshed.domain.board import Report
from trainshed.workloads.board.check.__main__ import inspect
from trainshed.workloads.board.facts import boards

SHARED = Path(__file__).parents[4] / "shared" / "data" / "mlperf_tiny"
SOAK = os.environ.get("TRAINSHED_SOAK") == "1"
FILES = 100_000 if SOAK else 2_000
THROUGH_THE_CHILD = 200 if SOAK else 12
#: Far above what any of these files takes on a loaded machine.
LONGEST_S = 20.0
SIZES = (0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
BOARD = boards()["nrf5340dk"]


@cache
def models() -> tuple[bytes, ...]:
    """Return the files that are mutated; the published ones where they are at hand."""
    made = [small_cnn(seed, old_codes=seed % 2 == 0, external=seed == 1) for seed in range(4)]
    # Most of the time the small ones: all of their bytes mean something.
    return (*made * 3, *(path.read_bytes() for path in sorted(SHARED.glob("*.tflite"))))


def mutate(random: Random) -> bytes:
    """Return a file with one to four faults."""
    data = bytearray(random.choice(models()))
    for _ in range(random.randint(1, 4)):
        random.choice(FAULTS)(random, data)
    return bytes(data)


def _place(random: Random, data: bytearray, width: int) -> int:
    """Return an aligned place, mostly near an end, where the structure is and not the weights."""
    reach = min(len(data) - width, 4000)
    at = random.choice((random.randint(0, reach), len(data) - width - random.randint(0, reach)))
    return at // width * width


def flip_bits(random: Random, data: bytearray) -> None:
    for _ in range(random.randint(1, 8)):
        data[_place(random, data, 1)] ^= 1 << random.randint(0, 7)


def overwrite_offset(random: Random, data: bytearray) -> None:
    at = _place(random, data, 4)
    value = random.choice((random.randint(0, len(data)), len(data) - at, -at, 4))
    struct.pack_into("<I", data, at, value % 2**32)


def overwrite_size(random: Random, data: bytearray) -> None:
    struct.pack_into("<I", data, _place(random, data, 4), random.choice(SIZES))


def overwrite_field_list(random: Random, data: bytearray) -> None:
    struct.pack_into("<H", data, _place(random, data, 2), random.choice((0, 1, 4, 60, 0xFFFF)))


def truncate(random: Random, data: bytearray) -> None:
    del data[random.randint(len(data) // 4, len(data) - 1) :]
    data += bytes(max(0, 16 - len(data)))


def splice(random: Random, data: bytearray) -> None:
    other = random.choice(models())
    n = random.randint(1, min(256, len(data), len(other)))
    here, there = random.randint(0, len(data) - n), random.randint(0, len(other) - n)
    data[here : here + n] = other[there : there + n]


FAULTS = (
    flip_bits, overwrite_offset, overwrite_size, overwrite_field_list, truncate, splice,
)  # fmt: skip


def expect_a_report(report: Report) -> str:
    """Return the first error's code, ``valid`` for none; each error is a sentence."""
    for finding in report.errors:
        assert finding.code
        assert len(finding.message) > 20
    assert report.valid or report.errors
    return report.errors[0].code if report.errors else "valid"


@pytest.mark.timeout(7200 if SOAK else 300)
def test_mutated_files_get_a_report_in_time() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FILES):
        data = mutate(Random(seed))
        began = perf_counter()
        try:
            report = inspect(data, BOARD, quantize=seed % 10 == 0)
        except Exception as error:
            raise AssertionError(f"seed {seed} raised {type(error).__name__}: {error}") from error
        assert perf_counter() - began < LONGEST_S, f"seed {seed}"
        seen[expect_a_report(report)] += 1
    assert seen["invalid_model"] > FILES // 4, seen
    assert len(seen) >= 3, seen


@pytest.mark.timeout(1200 if SOAK else 120)
def test_mutated_files_get_a_report_from_the_child() -> None:
    """The same through the real child, whose answer is that of the check itself."""
    inspector = Inspector()
    for seed in range(THROUGH_THE_CHILD):
        data = mutate(Random(seed))
        assert inspector.check(data, BOARD, quantize=False) == inspect(data, BOARD, quantize=False)
