"""A data directory, a fake server and the process executor on it, for tests with real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.unit.runner.fake_server import Attempt, FakeServer

from trainshed.executors.process.executor import ProcessExecutor
from trainshed.ports.executor import Launch


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true value of ``what``; fail after a while."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


class Shed:
    """Runs Attempts and remembers what must be ended."""

    def __init__(self, base: Path) -> None:
        self.data = base / "data"
        (self.data / "run").mkdir(parents=True)
        self.server = FakeServer(self.data / "run" / "server.sock")
        self.server.start()
        self.executor = ProcessExecutor(self.data)
        self.handles: dict[str, Mapping[str, Any]] = {}

    def launch(self, command: list[str], kind: str = "auto", **fields: Any) -> Attempt:
        """Launch an Attempt in a kind of sandbox."""
        attempt = Attempt(command, **fields)
        attempt.assignment["sandbox"] = attempt.assignment["sandbox"] | {"kind": kind}
        self.server.add(attempt)
        self.handles[attempt.id] = self.executor.launch(
            Launch(attempt.id, attempt.token, self.server.url)
        )
        return attempt

    def run(self, command: list[str], kind: str = "auto", **fields: Any) -> Attempt:
        """Launch one and wait for its end."""
        attempt = self.launch(command, kind, **fields)
        wait_for(lambda: attempt.finished)
        return attempt

    def gone(self, attempt: Attempt) -> bool:
        """Whether its runner has ended."""
        return not self.executor.poll({attempt.id: self.handles[attempt.id]})[attempt.id].alive

    def folder(self, attempt: Attempt) -> Path:
        """Return its workspace."""
        folder: Path = self.data / "workspaces" / attempt.id
        return folder

    def close(self) -> None:
        """End everything."""
        for attempt_id, handle in self.handles.items():
            self.executor.stop(attempt_id, handle)
        self.executor.shut()
        self.server.stop()


@contextlib.contextmanager
def shed() -> Iterator[Shed]:
    """Yield a Shed in a folder that other users can pass through."""
    base = Path(tempfile.mkdtemp(prefix="shed-"))
    base.chmod(0o711)
    one = Shed(base)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(base, ignore_errors=True)


def marked(mark: str) -> list[int]:
    """Return living processes whose command line holds ``mark``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{name}/cmdline").read_bytes()
                state = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[0]
                if mark.encode() in line and state not in "ZX":
                    found.append(int(name))
    return found


def kill(pid: int) -> None:
    """SIGKILL one process of ours."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
