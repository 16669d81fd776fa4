"""Limits on a process tree: cgroups v1 or v2 where they can be written, rlimits everywhere.

A cgroup is made per Attempt below ``trainshed/``; what cannot be had is left to the watchdog.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainshed.runner.system import read_text

ROOT = "/sys/fs/cgroup"
PARENT = "trainshed"
PERIOD_US = 100_000
MIN_QUOTA_US = 1_000
LOG_SLACK = 64 * 1024 * 1024


@dataclass(slots=True)
class Cgroup:
    """The directories of one Attempt: controller -> path, and what to write back to leave them.

    ``unified`` is the v2 directory (also in hybrid mode, where it serves for cgroup.kill only).
    """

    paths: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    unified: str | None = None

    def enter(self) -> None:
        """Move the calling thread in: what it starts next is born inside.

        v1's ``tasks`` and not ``cgroup.procs``: moving one's own thread takes no global lock, and
        waiting for that one costs 10 ms and more. v2 has no such door.
        """
        for path in self._all():
            _write(f"{path}/{_door(path, self.unified)}", "0")

    def leave(self) -> None:
        """Move the calling thread back to where it was."""
        for name, home in self.homes.items():
            if name == "unified" and self.unified is not None:
                _write(f"{home}/cgroup.procs", "0")
            elif name in self.paths and name != "unified":
                _write(f"{home}/tasks", "0")

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel enforces the memory limit."""
        return "memory" in self.paths

    def oom_kills(self) -> int:
        """Return how many processes the kernel killed for the memory limit."""
        path = self.paths.get("memory")
        if path is None:
            return 0
        name = "memory.events" if path == self.unified else "memory.oom_control"
        for line in read_text(f"{path}/{name}").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def peak_bytes(self) -> int | None:
        """Return the most memory used so far, if the kernel says."""
        path = self.paths.get("memory")
        if path is None:
            return None
        name = "memory.peak" if path == self.unified else "memory.max_usage_in_bytes"
        text = read_text(f"{path}/{name}").strip()
        return int(text) if text.isdigit() else None

    def kill(self) -> None:
        """SIGKILL everything inside, at once where the kernel can."""
        if self.unified is not None and _write(f"{self.unified}/cgroup.kill", "1"):
            return
        for path in self._all():
            for part in read_text(f"{path}/cgroup.procs").split():
                with contextlib.suppress(OSError):
                    os.kill(int(part), signal.SIGKILL)

    def remove(self) -> None:
        """Remove the directories; the kernel may need a moment after the last process."""
        for path in self._all():
            for _ in range(20):
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)
                else:
                    break

    def _all(self) -> list[str]:
        found = list(self.paths.values())
        if self.unified is not None and self.unified not in found:
            found.append(self.unified)
        return found


def _door(path: str, unified: str | None) -> str:
    return "cgroup.procs" if path == unified else "tasks"


def find_homes() -> dict[str, str]:
    """Return controller -> writable directory below which Attempts go; {} where there is none.

    Looked up once by the template: it does not change while that lives.
    """
    homes: dict[str, str] = {}
    for line in read_text("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "":
            unified = f"{ROOT}/unified" if os.path.isdir(f"{ROOT}/unified") else ROOT
            if os.path.exists(f"{unified}/cgroup.procs"):
                homes["unified"] = _home(unified, path)
            continue
        for name in names.split(","):
            if name in ("memory", "pids", "cpu") and os.path.isdir(f"{ROOT}/{name}"):
                homes[name] = _home(f"{ROOT}/{name}", path)
    return {name: home for name, home in homes.items() if os.access(home, os.W_OK)}


def create(
    homes: Mapping[str, str], name: str, limits: Mapping[str, int], in_namespace: bool
) -> Cgroup:
    """Return a cgroup with the limits that this machine can enforce; empty where none.

    Beside v1 controllers v2 only serves to kill the tree: with ``in_namespace`` the end of the
    PID namespace does that, and the slow move into v2 is spared.
    """
    group = Cgroup(homes=dict(homes))
    for controller in ("memory", "pids", "cpu"):
        if controller in homes:
            path = _make(f"{homes[controller]}/{PARENT}", name)
            if path is not None and _limit_v1(controller, path, limits):
                group.paths[controller] = path
    if "unified" in homes and not (in_namespace and "memory" in group.paths):
        group.unified = _make(_parent_v2(homes["unified"]), name)
        if group.unified is not None and not group.paths:
            group.paths.update(_limit_v2(group.unified, limits))
    return group


def apply_rlimits(pid: int, limits: Mapping[str, int], own_uid: bool) -> None:
    """Set the limits that hold for each process by itself. Never raises.

    Not RLIMIT_AS: CUDA and every allocator reserve far more address space than they use.
    """
    disk = limits.get("disk_bytes", 0)
    wanted = {resource.RLIMIT_CORE: 0}
    if disk:
        wanted[resource.RLIMIT_FSIZE] = max(disk, limits.get("log_bytes", 0) + LOG_SLACK)
    if own_uid and limits.get("pids"):
        wanted[resource.RLIMIT_NPROC] = limits["pids"]
    for which, value in wanted.items():
        with contextlib.suppress(OSError, ValueError):
            hard = resource.prlimit(pid, which)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, which, (most, most))


def _limit_v1(controller: str, path: str, limits: Mapping[str, int]) -> bool:
    if controller == "memory":
        size = limits.get("memory_bytes", 0)
        done = size > 0 and _write(f"{path}/memory.limit_in_bytes", str(size))
        if done:
            _write(f"{path}/memory.memsw.limit_in_bytes", str(size))
        return done
    if controller == "pids":
        return limits.get("pids", 0) > 0 and _write(f"{path}/pids.max", str(limits["pids"]))
    quota = limits.get("millicpus", 0) > 0 and str(_quota(limits))
    return bool(quota) and _write(f"{path}/cpu.cfs_quota_us", str(quota))


def _limit_v2(path: str, limits: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, str] = {}
    if limits.get("memory_bytes") and _write(f"{path}/memory.max", str(limits["memory_bytes"])):
        _write(f"{path}/memory.swap.max", "0")
        found["memory"] = path
    if limits.get("pids") and _write(f"{path}/pids.max", str(limits["pids"])):
        found["pids"] = path
    if limits.get("millicpus") and _write(f"{path}/cpu.max", f"{_quota(limits)} {PERIOD_US}"):
        found["cpu"] = path
    return found


def _quota(limits: Mapping[str, int]) -> int:
    return max(limits["millicpus"] * PERIOD_US // 1000, MIN_QUOTA_US)


def _home(mount: str, path: str) -> str:
    inside = mount + path.rstrip("/")
    return inside if os.path.isdir(inside) else mount


def _parent_v2(home: str) -> str:
    """Return where v2 groups go. Controllers cannot be passed down from a group that holds
    processes, except the root, so root uses that."""
    root = f"{ROOT}/unified" if home.startswith(f"{ROOT}/unified") else ROOT
    base = root if os.access(f"{root}/cgroup.procs", os.W_OK) else home
    parent = f"{base}/{PARENT}"
    if not os.path.isdir(parent):
        with contextlib.suppress(OSError):
            os.mkdir(parent, 0o755)
            for folder in (base, parent):
                for name in ("memory", "pids", "cpu"):
                    _write(f"{folder}/cgroup.subtree_control", f"+{name}")
    return parent


def _make(parent: str, name: str) -> str | None:
    path = f"{parent}/{name}"
    try:
        os.mkdir(path, 0o755)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            os.mkdir(parent, 0o755)
            os.mkdir(path, 0o755)
            return path
        return None
    except FileExistsError:
        return path
    except OSError:
        return None
    return path


def _write(path: str, text: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
