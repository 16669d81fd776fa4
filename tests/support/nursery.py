"""The ``trainshed`` command in a process of its own, forked from one that has its modules.

The tests start servers by the hundred, and importing one costs a second of CPU time. A fork runs
the same entry point with its own arguments, environment, folder and files, and ends as any process
does. At the full size of ``make soak``, and where a test says so, the command is executed instead.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TRAINSHED = str(Path(sys.executable).parent / "trainshed")
#: What a server, or a check of its data, has imported once it works.
PRELOADED = (
    "aiosmtplib", "alembic.command", "email.headerregistry", "fastapi.telemetry._runtime",
    "psycopg", "pydantic.v1", "trainshed.bootstrap.archive", "trainshed.bootstrap.cli",
    "trainshed.bootstrap.doctor", "trainshed.bootstrap.server",
    "trainshed.executors.process.install", "trainshed.store.migrations.triggers",
    "trainshed.store.postgres", "trainshed_client.cli.main", "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)  # fmt: skip
_STATUS = struct.Struct("i")
_MOST = 512 * 1024


class Forked:
    """What tests use of ``subprocess.Popen``."""

    def __init__(self, pid: int, status: int, stdout: io.TextIOWrapper) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float) -> int:
        """Return the exit status; raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(["trainshed"], timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _look(self, timeout_s: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout_s)[0]:
            told = os.read(self._status, _STATUS.size)
            os.close(self._status)
            assert told, "the nursery has gone"
            (self.returncode,) = _STATUS.unpack(told)
        return self.returncode


class Nursery:
    """The process that forks; it ends with the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for one in (self._control, theirs):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._control.close()
        self._process.wait(10)

    def fork(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, errors: int
    ) -> Forked:
        """Start ``command``, which begins with the path of ``trainshed``."""
        wanted = json.dumps({"command": [*command], "env": {**env}, "cwd": str(cwd)}).encode()
        out, theirs_out = os.pipe()
        status, theirs_status = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._control, [wanted], [theirs_out, errors, theirs_status])
                pid = int(self._control.recv(64))
        finally:
            os.close(theirs_out)
            os.close(theirs_status)
        return Forked(pid, status, open(out, encoding="utf-8"))


@functools.cache
def nursery() -> Nursery:
    """Return this test process's nursery."""
    return Nursery()


def run(*args: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run ``trainshed`` to its end, as ``subprocess.run`` does."""
    command = [TRAINSHED, *args]
    with tempfile.TemporaryFile("w+") as errors:
        one = nursery().fork(command, os.environ, Path.cwd(), errors.fileno())
        with one.stdout:
            out = one.stdout.read()
        code = one.wait(timeout_s)
        errors.seek(0)
        return subprocess.CompletedProcess(command, code, out, errors.read())


def serve(control: socket.socket) -> None:
    """Fork what is asked for, and tell how it ended. In a fork this returns once it has become
    what was asked for.
    """
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    living: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell(living)
        if control in ready:
            text, fds, _, _ = socket.recv_fds(control, _MOST, 3)
            if not text:
                sys.exit(0)
            out, errors, status = fds
            pid = os.fork()
            if pid == 0:
                _become(json.loads(text), out, errors)
                return
            os.close(out)
            os.close(errors)
            living[pid] = status
            control.send(str(pid).encode())


def _tell(living: dict[int, int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = living.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(told, _STATUS.pack(os.waitstatus_to_exitcode(status)))
        os.close(told)


def _become(wanted: dict[str, Any], out: int, errors: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, kept in enumerate((nothing, out, errors)):
        os.dup2(kept, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = wanted["command"]


if __name__ == "__main__":
    import importlib

    with socket.socket(fileno=int(sys.argv[1])) as asked:
        for name in PRELOADED:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()
        serve(asked)
        asked.detach()
    from trainshed_client.cli.main import main

    sys.exit(main())
