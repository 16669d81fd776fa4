"""A small /etc for jobs: name resolution, certificates, time zone, and the jobs' own user names.

One directory for all, bound as a whole: each further mount costs every job a tenth of a ms.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil

COPIED = (
    "alternatives", "ca-certificates", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "pki", "protocols",
    "resolv.conf", "services", "ssl",
)  # fmt: skip
#: What changes while a machine runs (a new network, another address).
LIVELY = ("hosts", "resolv.conf")
PASSWD = "root:x:0:0:root:/:/bin/false\n"  # noqa: S105 - a file, not a password
GROUP = "root:x:0:\n"


def folder(data: str) -> str:
    """Return the directory that a sandbox shows as /etc."""
    return f"{data}/run/etc"


def build(data: str, source: str = "/etc") -> None:
    """Make or renew the directory, once per template. Private keys are never copied.

    It stays the same directory: jobs of an earlier template still have it mounted.
    """
    target = folder(data)
    with contextlib.suppress(FileExistsError):
        os.mkdir(target, 0o755)
    os.chmod(target, 0o755)  # noqa: S103 - as /etc itself: every job's uid reads it
    for name in COPIED:
        if os.path.isdir(f"{target}/{name}"):
            continue
        part = f"{target}/.{name}.{os.getpid()}"
        with contextlib.suppress(OSError, shutil.Error):
            _copy(f"{source}/{name}", part)
            os.rename(part, f"{target}/{name}")
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        if not os.path.exists(f"{target}/{name}"):
            _write(f"{target}/{name}", text)


def prepare(data: str, uid: int | None, source: str = "/etc") -> None:
    """Give ``uid`` a name and renew what changed on the host; mostly looks. Raises OSError."""
    target = folder(data)
    for name in LIVELY:
        with contextlib.suppress(OSError):
            now = os.stat(f"{source}/{name}").st_mtime_ns
            if now != os.stat(f"{target}/{name}").st_mtime_ns:
                part = f"{target}/.{name}.{os.getpid()}"
                _copy(f"{source}/{name}", part)
                os.rename(part, f"{target}/{name}")
    if uid is not None and f":{uid}:" not in _read(f"{target}/passwd"):
        _add(target, uid)


def _add(target: str, uid: int) -> None:
    lock = os.open(f"{target}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        passwd, group = _read(f"{target}/passwd"), _read(f"{target}/group")
        if f":{uid}:" not in passwd:
            _write(f"{target}/group", f"{group}job{uid}:x:{uid}:\n")
            line = f"job{uid}:x:{uid}:{uid}:job:/tmp:/bin/sh\n"
            _write(f"{target}/passwd", passwd + line)
    finally:
        os.close(lock)


def _copy(source: str, target: str) -> None:
    if os.path.isdir(source):
        ignore = shutil.ignore_patterns("private", "*.key")
        shutil.copytree(source, target, symlinks=True, ignore=ignore)
        return
    shutil.copy2(source, target)
    os.chmod(target, 0o644)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    part = f"{path}.{os.getpid()}"
    with open(part, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.rename(part, path)
