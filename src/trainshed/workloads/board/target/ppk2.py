"""A Power Profiler Kit II: supplies the board, or is in its supply line, and samples its current.

The library is another program's licence and another machine's hardware: it is imported when a
meter is opened, on the machine with the board, and never by the server.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

import numpy as np

from trainshed.workloads.board.target.protocol import TargetFailed
from trainshed.workloads.board.target.windows import START_LOW_S, Recording, inferences

#: The meter samples at 100 kHz; a sample is a little-endian word: 14 bits of current, 3 of range,
#: a gap, 6 of counter, 8 digital inputs.
STEP_S = 1e-5
SAMPLE_BYTES = 4
COUNTER_SHIFT, COUNTER_MASK, PIN_SHIFT = 18, 0x3F, 24
OFF_S = 0.5
#: What a board takes until a probe finds it after its power came.
SETTLE_S = 0.3
#: How long the meter may say nothing, and the board not raise its pin.
SILENCE_S, FIRST_S = 3.0, 10.0
LOOK_S = 0.25
ADVICE = "pip install 'trainshed[probe]'"


class Ppk2:
    """Implements ``target.bench.Meter``. ``source``: it supplies the board; else it only measures
    what another supply gives.
    """

    def __init__(self, port: str = "", *, source: bool = False) -> None:
        """``port``: of the serial interface; '' takes the only meter there is."""
        self._port = port
        self._source = source
        self._api: Any = None

    def power(self, voltage_mv: int) -> None:
        """Open the meter and switch the board on."""
        self._api = api = self._open()
        try:
            api.stop_measuring()  # one that was left running talks over its answers
            time.sleep(0.1)
            api.get_data()
            known = api.get_modifiers()
        except (OSError, UnicodeDecodeError) as error:
            raise self._gone(error) from error
        if not known:
            raise TargetFailed(
                f"{self._port} does not answer like a PPK2. Check the port, and plug it in again."
            )
        (api.use_source_meter if self._source else api.use_ampere_meter)()
        api.set_source_voltage(voltage_mv)
        api.toggle_DUT_power("ON")
        time.sleep(SETTLE_S)

    def record(self, n_inferences: int, timeout_s: float) -> Recording:
        """Switch the board off and on, and record until it has done that many inferences."""
        api = self._api
        api.toggle_DUT_power("OFF")
        time.sleep(OFF_S)
        api.start_measuring()
        api.toggle_DUT_power("ON")
        try:
            raw = self._collect(n_inferences, timeout_s)
        finally:
            api.stop_measuring()
        words = _words(raw)
        counters = (words >> COUNTER_SHIFT) & COUNTER_MASK
        if np.any((np.diff(counters.astype(np.int16)) & COUNTER_MASK) != 1):
            raise TargetFailed(
                "Samples of the PPK2 were lost, so times would be wrong. Plug it into a port of "
                "this computer itself, and let nothing else use the computer's time."
            )
        currents, _ = api.get_samples(bytes(raw))
        return Recording(STEP_S, np.asarray(currents), _pin(words))

    def close(self) -> None:
        """Let go of the port; the board stays on."""
        if self._api is not None:
            with suppress(OSError):
                self._api.ser.close()
            self._api = None

    def _open(self) -> Any:
        try:
            from ppk2_api.ppk2_api import PPK2_API
        except ImportError as error:
            raise TargetFailed(f"A PPK2 needs: {ADVICE}.") from error
        logging.getLogger().addFilter(_quiet)
        if not self._port:
            found = PPK2_API.list_devices()
            if not found:
                raise TargetFailed("No PPK2 found. Plug one in, or name its port with --ppk2.")
            if len(found) > 1:
                raise TargetFailed(
                    f"{len(found)} PPK2 found ({', '.join(found)}). "
                    "Name the port of one with --ppk2."
                )
            self._port = found[0]
        try:
            return PPK2_API(self._port, timeout=1, write_timeout=1, exclusive=True)
        except OSError as error:
            raise TargetFailed(
                f"The PPK2 at {self._port} cannot be opened: {error}. Is it plugged in, are you in "
                "the group of the port, and does no other program use it?"
            ) from error

    def _collect(self, n_inferences: int, timeout_s: float) -> bytearray:
        raw = bytearray()
        begun = heard = looked = time.monotonic()
        seen = 0
        while True:
            now = time.monotonic()
            try:
                data = self._api.get_data()
            except OSError as error:
                raise self._gone(error) from error
            raw += data
            heard = now if data else heard
            if now - heard > SILENCE_S:
                raise self._gone(f"it has said nothing for {SILENCE_S:g} s")
            if now - looked >= LOOK_S:
                looked = now
                pin = _pin(_words(raw))
                found = inferences(pin, STEP_S)
                seen = len(found)
                if seen >= n_inferences and len(pin) - found[-1][1] > START_LOW_S / STEP_S / 2:
                    return raw
                _in_time(now - begun, bool(found) or bool(pin[-1:].any()), seen, n_inferences,
                         timeout_s)  # fmt: skip
            if not data:
                time.sleep(0.001)

    def _gone(self, why: object) -> TargetFailed:
        return TargetFailed(
            f"The PPK2 at {self._port} does not answer any more: {why}. Plug it in again."
        )


def _in_time(waited_s: float, raised: bool, seen: int, wanted: int, timeout_s: float) -> None:
    if waited_s > FIRST_S and not raised:
        raise TargetFailed(
            f"The board did not raise its pin within {FIRST_S:g} s. Check the wire from the pin to "
            "D0, the wire of the grounds, VCC of the logic port, and that the board has power."
        )
    if waited_s > timeout_s:
        raise TargetFailed(
            f"The board has done {seen} of {wanted} inferences in {timeout_s:g} s. The model is "
            "too slow for this limit, or the board stopped."
        )


def _words(raw: bytearray) -> Any:
    return np.frombuffer(bytes(raw[: len(raw) // SAMPLE_BYTES * SAMPLE_BYTES]), "<u4")


def _pin(words: Any) -> Any:
    return ((words >> PIN_SHIFT) & 1).astype(bool)


def _quiet(record: logging.LogRecord) -> bool:
    """The library logs what is raised here anyway."""
    return record.module != "ppk2_api"
