"""Mount, PID, IPC and UTS namespaces by bubblewrap: the job sees its own folders and the system's.

As root bwrap mounts with root's rights (so an interpreter below /root stays usable) and setpriv
then
drops to the job's uid, for good. An ordinary user gets the same through a user namespace.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from trainshed.runner.sandboxes import Box, Host, unique
from trainshed.runner.sandboxes.bare import drop

GPU_NODES = (
    "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "kfd", "dri",
)  # fmt: skip
MAX_GPU_NODES = 16


def arguments(host: Host, box: Box, command: Sequence[str]) -> list[str]:
    """Return the argument list that starts ``command`` inside. ``host.bwrap`` must be there."""
    assert host.bwrap is not None
    args = [host.bwrap, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    args += ["--new-session", "--hostname", "job"]
    if not host.root:
        args.append("--unshare-user")
    if not box.network:
        args.append("--unshare-net")
    args += [*_system(), "--proc", "/proc", "--dev", "/dev"]
    args += ["--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    # First: the data directory may itself be below /tmp.
    args += ["--bind", box.tmp, "/tmp"]  # noqa: S108
    args += ["--ro-bind", box.etc, "/etc"]
    if box.resolv:
        args += ["--ro-bind", box.resolv, "/etc/resolv.conf"]
    readable = unique([p for p in box.readable if not p.startswith("/usr/")])
    for path in _parents([*readable, *box.writable]):
        args += ["--dir", path]
    for path in readable:
        args += ["--ro-bind-try", path, path]
    if box.hidden and unique([*readable, box.hidden]) == readable:
        args += _hide(box)
    for path in box.writable:
        args += ["--bind", path, path]
    args += [*_mounts(box), "--chdir", box.work]
    if box.gpus:
        args += _gpus()
    args += ["--remount-ro", "/", "--"]
    if box.uid is not None:
        args += drop(host.setpriv or "setpriv", box.uid)
    return [*args, *command]


#: Nothing of a user may be shown below these: programs of the system run from some of them before
#: the job's rights are dropped.
RESERVED = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys",
     "tmp", "usr"}
)  # fmt: skip
MAX_DEPTH = 32


def can_show(box: Box, path: str) -> bool:
    """Return whether a volume can be shown at ``path``: absolute, and apart from all else."""
    if not path.startswith("/") or os.path.normpath(path) != path or path.startswith("//"):
        return False
    parts = path.split("/")
    if parts[1] in RESERVED or not parts[1] or len(parts) > MAX_DEPTH:
        return False
    taken = [*box.readable, *box.writable, box.work, box.hidden, box.tmp]
    return not any(
        path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/")
        for one in (t.rstrip("/") for t in taken if t)
    )


def _hide(box: Box) -> list[str]:
    """Cover the data directory where it lies inside what the job may read."""
    args = ["--tmpfs", box.hidden]
    inside = [path for path in box.readable if path.startswith(f"{box.hidden}/")]
    for path in _parents([*inside, *box.writable]):
        args += ["--dir", path] if path.startswith(f"{box.hidden}/") else []
    for path in inside:
        args += ["--ro-bind-try", path, path]
    return args


def _mounts(box: Box) -> list[str]:
    """Show what the job sees under another name."""
    args: list[str] = []
    for path in _parents([inside for _, inside in box.mounts]):
        args += ["--dir", path]
    for host_path, inside in box.mounts:
        args += ["--bind", host_path, inside]
    return args


def _parents(paths: Sequence[str]) -> list[str]:
    """Return the folders above each path, outermost first: bwrap would make them for root only."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        found.update(dict.fromkeys("/".join(parts[:end]) for end in range(2, len(parts))))
    return list(found)


@cache
def _system() -> tuple[str, ...]:
    """Return the binds of the system's read-only parts, the same for every job."""
    args = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.islink(path):
            args += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            args += ["--ro-bind", path, path]
    if os.path.isdir("/sys/devices/system"):
        args += ["--dir", "/sys", "--dir", "/sys/devices"]
        args += ["--ro-bind", "/sys/devices/system", "/sys/devices/system"]
    return tuple(args)


@cache
def _gpus() -> tuple[str, ...]:
    names = [*GPU_NODES, *(f"nvidia{i}" for i in range(MAX_GPU_NODES))]
    args: list[str] = []
    for name in names:
        args += ["--dev-bind-try", f"/dev/{name}", f"/dev/{name}"]
    return (*args, "--ro-bind-try", "/sys", "/sys")
