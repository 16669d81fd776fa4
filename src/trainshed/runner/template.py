"""One small, single-threaded process per data directory that forks runners in about a millisecond.

Started as ``python -I -S template.py --data DIR --library DIR --stamp TEXT``; returns to its caller
once it listens on ``DIR/run/template.sock``. One JSON line a connection:

    {"attempt_id", "runner_token", "api_url"} -> {"pid", "start_time", "boot_id", "workspace"}
    {"op": "hello"}   -> {"pid", "stamp"}
    {"op": "retire"}  -> {}  listens no more; leaves once its last runner has
    {"op": "exit"}    -> {}  or {"busy": n} while it has runners
    {"op": "sweep"}   -> {"left": n}  ends what dead runners left behind

It outlives the server, and leaves when its data directory does. Being a subreaper it inherits
whatever a killed runner leaves, and ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from trainshed.runner import etc, supervise
from trainshed.runner.config import Config
from trainshed.runner.limits import find_homes
from trainshed.runner.sandboxes import Box, Host, bwrap
from trainshed.runner.system import (
    PR_SET_CHILD_SUBREAPER,
    boot_id,
    prctl,
    start_time,
)
from trainshed.runner.tree import children, kill_all

MAX_LINE = 64 * 1024
CLIENT_S = 2.0
CHECK_S = 5.0
BACKLOG = 512
PROBE_UID = 65534
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")


def main() -> int:
    """Start a template, unless one runs already. Returns the exit status of the starter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--library", default="")
    parser.add_argument("--stamp", default="")
    parser.add_argument("--engine-env", action="store_true", help="JSON on standard input")
    options = parser.parse_args()
    lock = _lock(f"{options.data}/run/template.lock")
    if lock is None:
        return 0
    engine_env = json.load(sys.stdin) if options.engine_env else {}
    listener = _listen(options.data)
    if os.fork():
        return 0
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR)
    log = os.open(f"{options.data}/run/template.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    etc.build(options.data)
    config = replace(_config(options.data, options.library), engine_env=engine_env)
    Template(config, listener, lock, options.stamp).serve()
    return 0


class Template:
    """The loop: connections, dead children, and whether there is still a reason to be."""

    def __init__(self, config: Config, listener: socket.socket, lock: int, stamp: str) -> None:
        self._config = config
        self._listener: socket.socket | None = listener
        self._lock = lock
        self._stamp = stamp
        self._runners: dict[int, str] = {}
        self._handles: dict[str, dict[str, Any]] = {}
        self._place = os.stat(config.data)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._leaving = False

    def serve(self) -> None:
        """Serve until told to leave or the data directory is gone, and no runner is left."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        assert self._listener is not None
        listening = self._listener.fileno()
        poller.register(listening, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll(CHECK_S * 1000)}
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if self._leaving or not self._has_place():
                self._leaving = True
                if listening >= 0:
                    poller.unregister(listening)
                    listening = -1
                    self._retire()
            elif listening in ready:
                self._accept()
            if self._leaving and not self._runners:
                return

    def _has_place(self) -> bool:
        try:
            now = os.stat(self._config.data)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == (self._place.st_dev, self._place.st_ino)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        with link, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            link.settimeout(CLIENT_S)
            if _peer_uid(link) not in (0, os.getuid()):
                return
            answer = self._answer(json.loads(_line(link)), link)
            link.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, message: dict[str, Any], link: socket.socket) -> dict[str, Any]:
        op = message.get("op", "launch")
        if op == "launch":
            return self._launch(message, link)
        if op == "hello":
            return {"pid": os.getpid(), "stamp": self._stamp}
        if op == "sweep":
            return {"left": self._sweep()}
        if op == "exit" and self._runners:
            return {"busy": len(self._runners)}
        if op in ("exit", "retire"):
            self._leaving = True
            self._retire()
            return {}
        return {"error": f"unknown op {op!r}"}

    def _launch(self, message: dict[str, Any], link: socket.socket) -> dict[str, Any]:
        attempt_id = str(message["attempt_id"])
        token, url = str(message["runner_token"]), str(message["api_url"])
        if not _ID.match(attempt_id):
            return {"error": "attempt_id is not a plain name"}
        if attempt_id in self._handles:
            return self._handles[attempt_id]
        try:
            pid = os.fork()
        except OSError as error:
            return {"error": f"fork: {error.strerror}"}
        if pid == 0:
            self._become_runner(attempt_id, token, url, link)
        handle = {
            "pid": pid,
            "start_time": start_time(pid),
            "boot_id": self._config.boot_id,
            "workspace": self._config.workspace(attempt_id),
        }
        self._runners[pid] = attempt_id
        self._handles[attempt_id] = handle
        return handle

    def _become_runner(self, attempt_id: str, token: str, url: str, link: socket.socket) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            if self._listener is not None:
                self._listener.close()
            link.close()
            for fd in (self._woken, self._wake, self._lock):
                os.close(fd)
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            gc.disable()  # until it lives long enough to need it: it only touches shared pages
            supervise.run(self._config, attempt_id, token, url)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _reap(self) -> None:
        strange = False
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                attempt_id = self._runners.pop(found[0], None)
                if attempt_id is not None:
                    self._handles.pop(attempt_id, None)
                strange = strange or found[1] != 0
        if strange:
            self._sweep()

    def _sweep(self) -> int:
        """End what dead runners left: any child that is no runner. Return how many are left."""
        for _ in range(200):
            left = [pid for pid in children(os.getpid()) if pid not in self._runners]
            if not left:
                return 0
            kill_all(left)
            time.sleep(0.005)
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return len(left)

    def _retire(self) -> None:
        """Listen no more and let a successor have the lock."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                os.unlink(f"{self._config.data}/run/template.sock")
            with contextlib.suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)


def _config(data: str, library: str) -> Config:
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return Config(data, here, library, find_host(), boot_id(), find_homes())


def find_host() -> Host:
    """Find what this machine can do, by doing it once."""
    root = os.getuid() == 0
    bwrap_path, setpriv, unshare = (_which(name) for name in ("bwrap", "setpriv", "unshare"))
    slirp, ip = _which("slirp4netns"), _which("ip")
    bare = Host(root, bwrap_path, setpriv, unshare, slirp=slirp, ip=ip)
    if bwrap_path is None or (root and setpriv is None):
        missing = "bubblewrap" if bwrap_path is None else "setpriv (util-linux)"
        return replace(bare, why_not=f"{missing} is not installed")
    box = Box("/", "/usr", (), (), PROBE_UID if root else None, False)
    args = bwrap.arguments(bare, box, ["/bin/true"])
    try:
        done = subprocess.run(args, env={}, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return replace(bare, why_not=str(error))
    why = done.stderr.decode("utf-8", "replace").strip()[-300:]
    return replace(bare, bwrap_works=done.returncode == 0, why_not=why)


def _which(name: str) -> str | None:
    for folder in ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None


def _lock(path: str) -> int | None:
    """Return the held lock, or None if another template has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _listen(data: str) -> socket.socket:
    """Return the listening socket, 0600; its path goes through a descriptor, so any length does."""
    folder = os.open(f"{data}/run", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink("template.sock", dir_fd=folder)
        one.bind(f"/proc/self/fd/{folder}/template.sock")
    finally:
        os.umask(mask)
        os.close(folder)
    one.listen(BACKLOG)
    return one


def _peer_uid(link: socket.socket) -> int:
    found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])


def _line(link: socket.socket) -> bytes:
    data = b""
    while b"\n" not in data:
        part = link.recv(MAX_LINE)
        if not part or len(data) > MAX_LINE:
            raise ValueError("no line")
        data += part
    return data


if __name__ == "__main__":
    sys.exit(main())
