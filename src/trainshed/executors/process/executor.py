"""``ProcessExecutor``: launches, finds, stops and cleans up after runners of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainshed.domain.errors import Unavailable
from trainshed.domain.resources import Offer
from trainshed.executors.process import caches, containers, environments, install, procs
from trainshed.executors.process.offers import found_gpus, offers, usable_cpus, usable_memory
from trainshed.ports.executor import Launch, Observation
from trainshed.ports.streams import LOG_STREAMS

TEMPLATE_S = 20.0
ANSWER_S = 10.0
STOP_S = 10.0
OFFERS_S = 60.0
GROUPS_S = 60.0
#: Between two looks at the caches of workloads.
CACHES_S = 60.0
SOCKET = "template.sock"


class ProcessExecutor:
    """Runs Attempts as processes of this machine. Safe to call from several threads.

    ``gpu_pools``: NVML name -> GPU type. ``cpus``, ``memory_bytes``: what to offer instead of
    what is there. ``nvml``: a module like pynvml.
    """

    name = "process"

    def __init__(
        self,
        data_dir: Path,
        gpu_pools: Mapping[str, str] | None = None,
        cpus: float | None = None,
        memory_bytes: int | None = None,
        nvml: Any | None = None,
    ) -> None:
        self._data = Path(os.path.realpath(data_dir))
        self._gpu_pools = dict(gpu_pools or {})
        self._cpus = cpus
        self._memory_bytes = memory_bytes
        self._nvml = nvml
        self._lock = threading.Lock()
        self._boot_id = procs.boot_id()
        self._engine_env = install.engine_env()
        self._stamp = install.stamp(tuple(self._engine_env.items()))
        self._checked = False
        self._offers: tuple[float, list[Offer]] | None = None
        self._groups: tuple[float, list[str]] | None = None
        self._caches_at = -CACHES_S

    def offers(self) -> Sequence[Offer]:
        """Return what this machine could run when idle; looked up anew each minute."""
        now = time.monotonic()
        if self._offers is None or now - self._offers[0] > OFFERS_S:
            cpus = self._cpus if self._cpus is not None else usable_cpus()
            memory = self._memory_bytes if self._memory_bytes is not None else usable_memory()
            gpus = found_gpus(self._nvml)
            self._offers = (now, offers(gpus, self._gpu_pools, cpus, memory))
        return self._offers[1]

    def launch(self, order: Launch) -> Mapping[str, Any]:
        """Have a runner forked; the same Attempt twice gives the same runner.

        Raises:
            Unavailable: no template could be started, or it could not fork.
        """
        message = {
            "attempt_id": order.attempt_id,
            "runner_token": order.runner_token,
            "api_url": order.api_url,
        }
        answer = self._ask(message) if self._checked else None
        if answer is None:
            self._ensure_template()
            answer = self._ask(message)
        if answer is None or "pid" not in answer:
            why = (answer or {}).get("error", "the template does not answer")
            raise Unavailable(f"No runner could be started on this machine: {why}.")
        return answer

    def poll(self, handles: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Observation]:
        """Return for each Attempt whether its runner lives, or what it left."""
        return {attempt_id: self._look(attempt_id, handles[attempt_id]) for attempt_id in handles}

    def stop(self, attempt_id: str, handle: Mapping[str, Any]) -> bool:
        """Kill the runner and its whole tree; True once nothing is left."""
        found = self._handle(attempt_id, handle)
        place = str(self._place(attempt_id))
        until = time.monotonic() + STOP_S
        tree: set[tuple[int, int]] = set()
        while True:
            pid = procs.alive(found, self._boot_id)
            if pid is not None:
                # Stopped first, so that it starts nothing while its tree is read.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                tree |= procs.identified(procs.descendants(pid))
                tree |= procs.identified([pid])
            tree |= procs.identified(procs.of_workspace(place))
            left = procs.kill(tree)
            swept = self._ask({"op": "sweep"})
            nothing = not left and pid is None and (swept is None or swept.get("left") == 0)
            if nothing and containers.removed(self._place(attempt_id)):
                procs.remove_groups(procs.group_parents(), attempt_id)
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.01)

    def workspaces(self) -> list[str]:
        """Return the attempt ids that have a workspace here."""
        try:
            return [e.name for e in os.scandir(self._data / "workspaces") if e.is_dir()]
        except FileNotFoundError:
            return []

    def clean(self, attempt_id: str) -> None:
        """Remove the Attempt's container, workspace and cgroups."""
        if not containers.removed(self._place(attempt_id)):
            return
        procs.remove_workspace(str(self._place(attempt_id)))
        procs.remove_groups(self._group_parents(), attempt_id)

    def _group_parents(self) -> list[str]:
        """Look seldom: the trees of a busy machine are large, and a template keeps to its own."""
        now = time.monotonic()
        if self._groups is None or now - self._groups[0] > GROUPS_S:
            self._groups = (now, procs.group_parents())
        return self._groups[1]

    def rest_of_log(self, attempt_id: str, stream: str, offset: int, n_bytes: int) -> bytes:
        """Return what the file of a stream holds from ``offset``; nothing if it was cut."""
        place = self._place(attempt_id)
        if stream not in LOG_STREAMS or (place / f"{stream}.cut").exists():
            return b""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(place / f"{stream}.log", flags)
        except OSError:
            return b""
        try:
            return os.pread(fd, n_bytes, offset) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)

    def trim_environments(self, limit_bytes: int, spared_s: float = environments.SPARED_S) -> None:
        """Remove environments that no runner uses until the rest has at most ``limit_bytes``."""
        environments.trim(self._data / "environments", limit_bytes, spared_s)

    def trim_caches(self, limit_bytes: int) -> None:
        """Remove the oldest files of caches until the rest has at most ``limit_bytes``."""
        now = time.monotonic()
        if now - self._caches_at > CACHES_S:
            self._caches_at = now
            caches.trim(self._data / "caches", limit_bytes)

    def shut(self) -> bool:
        """Have an idle template leave; False if it still has runners."""
        answer = self._ask({"op": "exit"})
        return answer is None or "busy" not in answer

    def _place(self, attempt_id: str) -> Path:
        if not attempt_id or "/" in attempt_id or attempt_id.startswith("."):
            raise ValueError("not an attempt id")
        return self._data / "workspaces" / attempt_id

    def _look(self, attempt_id: str, handle: Mapping[str, Any]) -> Observation:
        if procs.alive(self._handle(attempt_id, handle), self._boot_id) is not None:
            return Observation(True)
        return Observation(False, _json(self._place(attempt_id) / "outcome.json"))

    def _handle(self, attempt_id: str, handle: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the handle, or the one the runner left if the launch's answer was lost."""
        return handle if handle.get("pid") else procs.left_handle(self._place(attempt_id))

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the template's answer, or None if there is none."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(ANSWER_S)
                self._connect(link)
                link.sendall(json.dumps(message).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    part = link.recv(65536)
                    if not part:
                        return None
                    data += part
        except OSError:
            return None
        found = json.loads(data)
        return found if isinstance(found, dict) else None

    def _connect(self, link: socket.socket) -> None:
        """Connect through the directory's descriptor: socket paths end at 107 bytes."""
        folder = os.open(self._data / "run", os.O_PATH | os.O_DIRECTORY)
        try:
            link.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)

    def _ensure_template(self) -> None:
        """Start a template unless one of this version answers. Raises Unavailable."""
        with self._lock:
            answer = self._ask({"op": "hello"})
            if answer is not None and answer.get("stamp") == self._stamp:
                self._checked = True
                return
            if answer is not None:
                self._ask({"op": "retire"})
            self._start()
            self._checked = True

    def _start(self) -> None:
        library = install.prepare(self._data)
        args = [sys.executable, "-I", "-S", str(install.template()), "--data", str(self._data)]
        args += ["--library", str(library), "--stamp", self._stamp, "--engine-env"]
        words = json.dumps(self._engine_env).encode()
        try:
            done = subprocess.run(
                args, env={"LANG": "C.UTF-8"}, cwd="/", input=words,
                capture_output=True, timeout=TEMPLATE_S, start_new_session=True, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"The runner template cannot be started: {error}.") from error
        if done.returncode != 0:
            why = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Unavailable(f"The runner template ended at once: {' '.join(why)}.")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
