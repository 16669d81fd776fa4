"""What goes to a bench and comes back: whole, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.workloads.board.target.parcel import (
    pack_execution,
    pack_order,
    unpack_execution,
    unpack_order,
)
from trainshed.workloads.board.target.protocol import Execution, Firmware, PowerTrace

#: Each refusal is a sentence for the log, whichever it is.
_ANY = r"\w+ \w+"
INPUTS = ((b"abc", b""), (b"defg", b"x"))


def order(folder: Path) -> bytes:
    elf = folder / "a.elf"
    elf.write_bytes(b"\x7fELF" + bytes(range(256)))
    return pack_order(Firmware(elf, "5" * 64, ("-O2",), "gcc", (3, 1)), "nrf52840dk", INPUTS, 10)


SEEN = Execution(
    outputs=((b"123", b"4"), (b"567", b"8")), instructions=0, layers=(), overhead=0,
    stack_high_water_bytes=812, n_inferences=3, seconds=(0.003, 0.003, 0.00301),
    trace=PowerTrace(0.01, [[5000.0, 5001.5], [5000.5, 4999.0], [5000.0, 5000.0]]),
)  # fmt: skip


def test_an_order_arrives_as_it_was(tmp_path: Path) -> None:
    board, firmware, inputs, n = unpack_order(order(tmp_path), tmp_path / "there")
    assert (board, inputs, n) == ("nrf52840dk", INPUTS, 10)
    assert firmware.elf.read_bytes() == (tmp_path / "a.elf").read_bytes()
    assert (firmware.sha256, firmware.output_bytes) == ("5" * 64, (3, 1))


def test_an_answer_arrives_as_it_was() -> None:
    found = unpack_execution(pack_execution(SEEN))
    assert found == SEEN


def test_long_traces_fit(tmp_path: Path) -> None:
    from trainshed.domain.bench import MAX_PARCEL_BYTES
    from trainshed.workloads.board.target.windows import MAX_SAMPLES

    trace = PowerTrace(0.01, np.full((10, MAX_SAMPLES // 10), 1.0).tolist())
    full = Execution(SEEN.outputs, 0, (), 0, 1, 10, (1.0,) * 10, trace)
    assert len(pack_execution(full)) < MAX_PARCEL_BYTES / 4


@pytest.mark.parametrize("cut", [0, 20, -30, -10, -1])
def test_what_is_cut_is_refused(cut: int) -> None:
    data = pack_execution(SEEN)
    with pytest.raises(ValueError, match=_ANY):
        unpack_execution(data[:cut])


@given(st.binary(max_size=400))
def test_noise_is_refused(data: bytes) -> None:
    for whole in (data, b'{"n_inferences":1}\n' + data):
        with pytest.raises(ValueError, match=_ANY):
            unpack_execution(whole)


@given(st.data())
def test_one_wrong_byte_is_an_answer_or_refused(data: st.DataObject) -> None:
    good = bytearray(pack_execution(SEEN))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    try:
        found = unpack_execution(bytes(good))
    except ValueError:
        return
    assert len(found.seconds) == found.n_inferences
    assert found.trace is not None
    assert np.isfinite(found.trace.currents_ua).all()
