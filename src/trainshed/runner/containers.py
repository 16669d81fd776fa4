"""One Attempt in a container: started by the engine's command line, watched by its first process.

The engine's client runs in the foreground as a child of the runner and writes the job's logs. A
note beside the workspace says how to remove the container, for whoever finds the runner dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainshed.runner import egress, launch
from trainshed.runner.images import Found, last_line
from trainshed.runner.launch import Inside, Spawned, StartFailed
from trainshed.runner.limits import LOG_SLACK, Cgroup
from trainshed.runner.network import Network
from trainshed.runner.report import Exit, exit_of
from trainshed.runner.sandboxes import Choice, container, docker, podman
from trainshed.runner.sandboxes.container import INSIDE, LIBRARY, TMP, Crate, Engine, Mount
from trainshed.runner.system import read_text, write_durably
from trainshed.runner.workspace import Interrupted, Workspace
from trainshed.wire.v1 import Assignment

NOTE = "container.json"
ASK_S, REMOVE_S = 10.0, 60.0
LOOK_S, INSPECT_EVERY_S = 0.005, 0.05
CATATONIT = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/local/bin/catatonit")


@dataclass(slots=True)
class Container:
    """The container of one Attempt, from its start to its removal."""

    engine: Engine
    image: Found
    job: Assignment
    place: Workspace
    library: str
    uid: int | None
    network: Network
    name: str = field(init=False)
    #: Whether there may be a container of ours.
    there: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.name = f"trainshed-{self.job.attempt_id}"

    def start(self, logs: tuple[int, int], go_on: Callable[[], bool]) -> Spawned:
        """Start the user's process; return once it runs or has run.

        Raises:
            StartFailed: the engine could not start it. Interrupted: ``go_on`` said no.
        """
        if os.path.exists(self._note):
            self.remove()
        self._write_env()
        crate = self._crate()
        build = podman.run if self.engine.kind == "podman" else docker.run
        note = {"remove": container.remove(self.engine, self.name), "env": dict(self.engine.env)}
        write_durably(self._note, note)
        before = os.fstat(logs[1]).st_size
        command = launch.command(self.job, Workspace(INSIDE), self._shown)
        args = build(self.engine, crate, command)
        pid = launch.spawn(args, self.engine.env, logs)
        pidfd = os.pidfd_open(pid)
        self.there = True
        try:
            inside = self._first_process(pidfd, crate, go_on)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._env_file)
        if inside is None:
            os.waitpid(pid, 0)
            os.close(pidfd)
            self.remove()
            said = os.pread(logs[1], 4096, before).decode("utf-8", "replace")
            raise StartFailed(f"The container could not be started: {last_line(said, [])}")
        return Spawned(pid, pidfd, True, inside)

    def end(self, status: int) -> Exit:
        """Return how the user's process ended; ``status`` is the client's wait status."""
        state = self._state() if self.engine.kind == "docker" else {}
        if isinstance(state.get("ExitCode"), int) and state.get("Status") in ("exited", "dead"):
            return exit_of(int(state["ExitCode"]) << 8, True)
        return exit_of(status, True)

    def out_of_memory(self) -> bool:
        """Return whether the engine says that memory ran out. podman's container is gone by now."""
        return self.engine.kind == "docker" and self._state().get("OOMKilled") is True

    def remove(self) -> None:
        """Kill and remove the container, if it is still there; the note goes only after it."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = self._call(container.remove(self.engine, self.name), REMOVE_S)
            if done.returncode == 0 or b"o such container" in done.stderr:
                self._forget()

    def finish(self, orderly: bool) -> None:
        """Leave nothing of it; podman itself has removed it when its client ended ``orderly``."""
        if orderly and self.engine.kind == "podman":
            self._forget()
        else:
            self.remove()

    def _forget(self) -> None:
        self.there = False
        with contextlib.suppress(OSError):
            os.unlink(self._note)

    def _first_process(self, client: int, crate: Crate, go_on: Callable[[], bool]) -> Inside | None:
        """Return the container's first process, or None if the client ended without one."""
        poller = select.poll()
        poller.register(client, select.POLLIN)
        every = LOOK_S if self.engine.kind == "podman" else INSPECT_EVERY_S
        while True:
            ended = bool(poller.poll(every * 1000))
            found = self._pid(crate.pid_file)
            if found is not None:
                return found
            if ended:
                return None
            if not go_on():
                self.remove()
                raise Interrupted

    def _pid(self, path: str) -> Inside | None:
        if self.engine.kind == "podman":
            text = read_text(path).strip()
            pid = int(text) if text.isdigit() else None
        else:
            state = self._state()
            ran = not str(state.get("StartedAt") or "0001").startswith("0001")
            pid = int(state.get("Pid") or 0) if ran else None
        if pid is None:
            return None
        try:
            return Inside(pid, os.pidfd_open(pid)) if pid > 1 else Inside()
        except OSError:
            return Inside()

    def _state(self) -> Mapping[str, Any]:
        words = ["container", "inspect", "--format", "{{json .State}}", self.name]
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            found = json.loads(self._call(self.engine.call(*words), ASK_S).stdout)
            return found if isinstance(found, dict) else {}
        return {}

    def _call(self, args: list[str], limit_s: float) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            args, env=dict(self.engine.env), cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, timeout=limit_s, start_new_session=True, check=False,
        )  # fmt: skip

    @property
    def _shown(self) -> str:
        """Where the job sees its checkpoint directory: at its volume's path, where that can be."""
        path = self.job.volume
        return path if container.can_show(path) else Workspace(INSIDE).checkpoints

    @property
    def _note(self) -> str:
        return f"{self.place.root}/{NOTE}"

    @property
    def _env_file(self) -> str:
        return f"{self.place.root}/container.env"

    def _write_env(self) -> None:
        job = self.job
        env = launch.environment(job, Workspace(INSIDE), LIBRARY, TMP, self._shown)
        if "PATH" not in job.env:
            del env["PATH"]
        if "HOME" not in job.env:
            env["HOME"] = TMP
        theirs = self.image.env.get("PYTHONPATH")
        if theirs:
            env["PYTHONPATH"] = f"{theirs}:{LIBRARY}"
        try:
            text = container.env_lines(env)
        except ValueError as error:
            raise StartFailed(
                f"The value of {error} has a line break or more than {container.MAX_VALUE}"
                " characters; container engines take no such value: put it into an input file.",
                "environment",
            ) from None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._env_file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(self._env_file, flags, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))

    def _crate(self) -> Crate:
        job, place = self.job, self.place
        pid_file = f"{place.root}/container.pid"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(pid_file)
        inner = Workspace(INSIDE)
        pairs = [
            (place.work, inner.work), (place.output, inner.output), (place.job, inner.job),
            (place.checkpoints, self._shown), (place.tmp, TMP),
        ]  # fmt: skip
        if job.resume is not None and not job.volume:
            pairs.append((place.resume, inner.resume))
        mounts = [Mount(source, target) for source, target in pairs]
        mounts.append(Mount(self.library, LIBRARY, readonly=True))
        ids = (os.getuid(), os.getgid()) if self.uid is None else (self.uid, self.uid)
        is_podman = self.engine.kind == "podman"
        return Crate(
            name=self.name,
            image=self.image.id,
            mounts=tuple(mounts),
            env_file=self._env_file,
            pid_file=pid_file,
            user=f"{ids[0]}:{ids[1]}",
            rootless=self.uid is None,
            labels={"trainshed.attempt": job.attempt_id, "trainshed.job": job.job_id},
            network=f"ns:{self.network.path}" if self.network.path else self.network.kind,
            dns=egress.RESOLVER if self.network.path else "",
            limits=job.limits,
            ulimits=_ulimits(job.limits, self.uid is not None),
            devices=tuple(job.devices),
            init=not is_podman or any(map(os.path.exists, CATATONIT)),
        )


def choice(root: bool, asked: Mapping[str, Any], uid: int) -> Choice:
    """Return what a container gives: namespaces of its own always, and as root another uid."""
    wanted = asked.get("uid")
    own = wanted if isinstance(wanted, int) and wanted > 0 else uid
    return Choice("container", "strong", own if root else None)


def group_of(pid: int, limits: Mapping[str, int]) -> Cgroup:
    """Return the control group that the engine made for the container, to read and to kill by.

    Where the engine cannot make one the container is in that of whoever started it, which is ours:
    to kill by it would end the server with the job.
    """
    group = Cgroup()
    ours = set(read_text("/proc/self/cgroup").splitlines())
    for line in read_text(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        below = f"{line.rstrip('/')}/"
        if path in ("", "/") or any(f"{one}/".startswith(below) for one in ours):
            continue
        if names == "":
            top = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else _TOP
            group.unified = f"{top}{path}"
            if _limit(f"{group.unified}/memory.max", limits):
                group.paths["memory"] = group.unified
        elif "memory" in names.split(","):
            folder = f"{_TOP}/memory{path}"
            if _limit(f"{folder}/memory.limit_in_bytes", limits):
                group.paths["memory"] = folder
    return group


_TOP = "/sys/fs/cgroup"


def _limit(path: str, limits: Mapping[str, int]) -> bool:
    """Return whether the kernel keeps the job's memory limit there."""
    text = read_text(path).strip()
    return text.isdigit() and 0 < int(text) <= limits.get("memory_bytes", 0)


def _ulimits(limits: Mapping[str, int], own_uid: bool) -> dict[str, tuple[int, int]]:
    """Return what holds for each process. Always said: the engines' own figures may be more than
    this machine lets them set.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = {"core": (0, 0), "nofile": (soft, hard)}
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    pids = limits.get("pids", 0) if own_uid else 0
    wanted = pids or most
    n = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    found["nproc"] = (n, n)
    if limits.get("disk_bytes"):
        size = max(limits["disk_bytes"], limits.get("log_bytes", 0) + LOG_SLACK)
        found["fsize"] = (size, size)
    return found
