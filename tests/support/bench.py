"""A bench without hardware: a PPK2 on a pseudo-terminal that the real library talks to, and a
debug probe whose board is the same image in the emulator.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainshed.domain.board import Board
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.target.machines import MACHINES

#: Memory as it was read, and whether it is the mailbox -> as the test wants it.
Change = Callable[[bytes, bool], bytes]
RATE = 100_000
START, STOP, RUNNING, REGULATOR, MODE, METADATA = 0x06, 0x07, 0x0C, 0x0D, 0x11, 0x19
ARGUMENTS = {RUNNING: 1, REGULATOR: 2, MODE: 1}
#: In range 2 with these modifiers a count of the converter is about 4.3 µA.
RANGE = 2
FACTS = (
    "Calibrated: 0\nR0: 1031.64\nR1: 101.65\nR2: 10.15\nR3: 0.94\nR4: 0.043\n"
    + "".join(f"{name}{i}: {value}\n" for name, value in
              (("GS", 0), ("GI", 1), ("O", 0), ("S", 0), ("I", 0), ("UG", 1)) for i in range(5))
    + "HW: 9173\nIA: 0\nEND"
)  # fmt: skip


def count_of(current_ua: float) -> int:
    """The converter's count for a current, by the modifiers above."""
    return round(current_ua / 1e6 / (1.8 / 163840 / 10.15) / 4)


@dataclass
class Script:
    """What the board does after its power comes: µs low with noise on the pin, then windows."""

    windows_us: list[int]
    gap_us: int = 4000
    start_us: int = 100_000
    active_ua: float = 5000.0
    idle_ua: float = 500.0
    noise: bool = True
    lose_at: int | None = None
    #: After that many samples the meter is pulled out.
    unplug_at: int | None = None

    def samples(self) -> list[tuple[float, bool]]:
        step = 1_000_000 // RATE
        idle, active = (self.idle_ua, False), (self.active_ua, True)
        out = [(self.idle_ua, self.noise and i % 3 == 0) for i in range(300)]
        out += [idle] * (self.start_us // step)
        for window in self.windows_us:
            out += [active] * (window // step) + [idle] * (self.gap_us // step)
        return out + [idle] * (RATE // 2)


@dataclass
class FakePpk2:
    """A thread behind a pseudo-terminal; ``port`` is the end for the library."""

    script: Script
    answers: str = FACTS
    commands: list[tuple[int, ...]] = field(default_factory=list)
    powered: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._board, self._far = pty.openpty()
        tty.setraw(self._far)
        self.port = os.ttyname(self._far)
        self._measuring = False
        self._sent = 0
        self._queue: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        for one in (self._board, self._far):
            with contextlib.suppress(OSError):
                os.close(one)

    def _serve(self) -> None:
        pending = b""
        while not self._stop.is_set():
            ready, _, _ = select.select([self._board], [], [], 0.005)
            try:
                pending += os.read(self._board, 4096) if ready else b""
                while pending and len(pending) > ARGUMENTS.get(pending[0], 0):
                    size = 1 + ARGUMENTS.get(pending[0], 0)
                    self._obey(tuple(pending[:size]))
                    pending = pending[size:]
                self._speak()
            except OSError:
                return

    def _obey(self, command: tuple[int, ...]) -> None:
        self.commands.append(command)
        match command:
            case (0x19,):
                os.write(self._board, self.answers.encode())
            case (0x06,):
                self._measuring = True
            case (0x07,):
                self._measuring = False
            case (0x0C, on) if on and self._measuring:
                self.powered()
                self._queue = [self._word(i, *s) for i, s in enumerate(self.script.samples())]
                self._sent = 0

    def _word(self, index: int, current: float, pin: bool) -> bytes:
        lost = self.script.lose_at is not None and index >= self.script.lose_at
        counter = (index + lost) % 64
        word = count_of(current) | RANGE << 14 | counter << 18 | pin << 24
        return struct.pack("<I", word)

    def _speak(self) -> None:
        if not self._measuring or self._sent >= len(self._queue):
            return
        _, writable, _ = select.select([], [self._board], [], 0)
        if not writable:
            return
        if self.script.unplug_at is not None and self._sent >= self.script.unplug_at:
            os.close(self._far)
            os.close(self._board)
            raise OSError("unplugged")
        part = self._queue[self._sent : self._sent + 500]
        os.write(self._board, b"".join(part))
        self._sent += len(part)


def bench_board(name: str = "nrf52840dk") -> Board:
    """A board whose image runs in the emulator as it is: its pin is a register that is there."""
    board = boards()[name]
    assert board.wiring is not None
    machine = MACHINES[board.machine]
    pin = PINS[board.machine]
    wiring = replace(
        board.wiring, setup=((pin + 0x10, 8),), pin_set=pin, pin_clear=pin + 4,
        flash_origin=machine.code, ram_origin=machine.ram,
    )  # fmt: skip
    core = replace(board.core, clock_hz=1_000_000)  # shortens the pauses, not the code
    return replace(board, wiring=wiring, core=core)


#: A GPIO block of each emulated machine.
PINS = {"mps2-an386": 0x4001_0000, "mps2-an505": 0x4010_0000}


class FakeSession:
    """What the product uses of a pyOCD session; memory is that of the emulator."""

    def __init__(self, probe: FakeProbe, options: dict[str, Any]) -> None:
        self.probe = probe
        self.options = options
        self.target = self
        self.asked = False

    def __enter__(self) -> FakeSession:
        if self.probe.refuse:
            raise self.probe.refuse
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def reset(self) -> None:
        self.probe.resets += 1

    def read_memory_block8(self, address: int, size: int) -> list[int]:
        first, self.asked = not self.asked, True
        return list(self.probe.memory(address, size, first))


class FakeProbe:
    """Flash, and an emulator that starts with what is in it."""

    def __init__(
        self, folder: Path, change: Change = lambda data, _: data, machine: str = "mps2-an386"
    ) -> None:
        self.machine = MACHINES[machine]
        self.folder = folder
        self.flash: dict[int, bytes] = {}
        self.resets = 0
        self.refuse: Exception | None = None
        self.options: list[dict[str, Any]] = []
        self.absent = False
        self._pending: dict[int, bytes] = {}
        self._change = change
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, unique_id: str | None, options: dict[str, Any]) -> FakeSession | None:
        self.options.append(options)
        return None if self.absent else FakeSession(self, options)

    def loader(self, session: FakeSession) -> FakeProbe:
        self._pending = {}
        return self

    def add_data(self, address: int, data: list[int]) -> None:
        self._pending[address] = bytes(data)

    def commit(self) -> None:
        self.flash = self._pending

    def power(self) -> None:
        """The meter has switched the board on: the emulator runs what is in flash."""
        self.off()
        self.folder.mkdir(parents=True, exist_ok=True)
        image = self.folder / "flash.bin"
        origin = self.machine.code
        data = bytearray(max(a + len(d) for a, d in self.flash.items()) - origin)
        for address, part in self.flash.items():
            data[address - origin : address - origin + len(part)] = part
        image.write_bytes(data)
        self._process = subprocess.Popen(
            ["qemu-system-arm", "-M", self.machine.name, "-display", "none", "-serial", "none",
             "-nic", "none", "-monitor", "none", "-qmp", "unix:qmp,server=on,wait=off",
             "-device", f"loader,file=flash.bin,addr={origin:#x},force-raw=on"],
            cwd=self.folder, stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            (self.folder / "qmp").unlink(missing_ok=True)

    def memory(self, address: int, size: int, mailbox: bool) -> bytes:
        """Read as a probe does, with the board running; the first thing asked for is its mailbox,
        which says when it is through, as the simulated meter cannot.
        """
        deadline = time.monotonic() + 60
        while True:
            data = self._memory(address, size)
            through = not mailbox or struct.unpack("<III", data)[1] in (2, 3)
            if through or time.monotonic() > deadline:
                return self._change(data, mailbox)
            time.sleep(0.05)

    def _memory(self, address: int, size: int) -> bytes:
        out = self.folder / "memory.bin"
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                self._qmp("memsave", {"val": address, "size": size, "filename": str(out)})
                return out.read_bytes()
            assert time.monotonic() < deadline, "the emulator does not answer"
            time.sleep(0.05)

    def _qmp(self, command: str, arguments: dict[str, Any]) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            here = os.path.relpath(self.folder / "qmp")
            one.connect(here if len(here) < 100 else str(self.folder / "qmp"))
            with one.makefile("rw") as talk:
                talk.readline()
                for name, given in (("qmp_capabilities", {}), (command, arguments)):
                    talk.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                    talk.flush()
                    answer = json.loads(talk.readline())
                    assert "return" in answer, answer


class RealImageProbe(FakeProbe):
    """Takes the image of a real nRF52840, made by a server that knows of no emulator.

    The part's registers are not there in the emulated machine, so what is written to flash uses
    others that do no harm: in the table of the setup, and where the pin's block is loaded
    (MOV.W Rd, #0x50000000 becomes #0x40000000).
    """

    def commit(self) -> None:
        super().commit()
        wiring = boards()["nrf52840dk"].wiring
        assert wiring is not None
        for address, data in self.flash.items():
            for register, _ in wiring.setup:
                data = data.replace(struct.pack("<I", register), struct.pack("<I", 0x4000_0558))
            self.flash[address] = _PIN_BLOCK.sub(lambda m: b"\x4f\xf0\x80" + m[1], data)


_PIN_BLOCK = re.compile(rb"\x4f\xf0\xa0([\x40-\x4f])", re.DOTALL)


@contextlib.contextmanager
def standing(
    folder: Path, script: Script, kind: type[FakeProbe] = FakeProbe, **probe: Any
) -> Iterator[tuple[FakePpk2, FakeProbe]]:
    """A meter and a probe with a board."""
    board = kind(folder, **probe)
    meter = FakePpk2(script, powered=lambda: board.power())
    try:
        yield meter, board
    finally:
        meter.close()
        board.off()
