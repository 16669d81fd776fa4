"""Built environments, kept below ``DATA/environments`` and shared by all Jobs with the same text.

KEY.lock          held shared by whoever uses it, exclusively by whoever builds or removes it
KEY/venv          the virtual environment, read-only for Jobs
KEY/owners/ACC    accounts that asked for it themselves
KEY/complete.json written last, by rename: without it there is no environment
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from trainshed.runner.system import read_text, sync_disk, write_durably
from trainshed.runner.workspace import Interrupted

COMPLETE = "complete.json"
WAIT_S = 0.2
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Held:
    """An environment that is not removed while ``lock`` is open."""

    path: str
    lock: int

    @property
    def python(self) -> str:
        """Its interpreter."""
        return f"{self.path}/venv/bin/python"


def key_of(python: str, text: str, sdists: bool = False) -> str:
    """Return the name of the environment that ``text`` makes of an interpreter. Code of ``sdists``
    may have changed it at will: it never serves where they are not taken.
    """
    whole = f"{os.path.realpath(python)}\n{sys.version}\n{sdists}\n{text}"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def hold(
    root: str, key: str, account: str, build: Callable[[str], None], go_on: Callable[[], bool]
) -> Held:
    """Return the environment, built by ``build(folder)`` unless it is there; one builds for all.

    Raises:
        Interrupted: ``go_on`` said no. And whatever ``build`` raises; then nothing is left.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o711)
    path = f"{root}/{key}"
    while go_on():
        held = take(root, key)
        if held is not None:
            _own(path, account)
            return held
        fd = _lock(root, key, fcntl.LOCK_EX)
        if fd is None:
            time.sleep(WAIT_S)
            continue
        try:
            if not os.path.exists(f"{path}/{COMPLETE}"):
                _build(path, build)
        finally:
            os.close(fd)
    raise Interrupted


def take(root: str, key: str) -> Held | None:
    """Return the environment if it is whole; it counts as used now."""
    fd = _lock(root, key, fcntl.LOCK_SH)
    if fd is None:
        return None
    mark = f"{root}/{key}/{COMPLETE}"
    try:
        os.utime(mark)
    except OSError:
        os.close(fd)
        return None
    return Held(f"{root}/{key}", fd)


def find(root: str, account: str, package: str) -> Held | None:
    """Return the account's own environment with ``package`` that was used last, if there is one.

    Another account's never: what else is in it would run as this account's code.
    """
    found: list[tuple[float, str]] = []
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                facts = json.loads(read_text(f"{entry.path}/{COMPLETE}"))
                if package in facts["packages"] and _owned(entry.path, account):
                    found.append((os.stat(f"{entry.path}/{COMPLETE}").st_mtime, entry.name))
    for _, key in sorted(found, reverse=True):
        held = take(root, key)
        if held is not None:
            return held
    return None


def _build(path: str, build: Callable[[str], None]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path, 0o755)
    os.mkdir(f"{path}/owners", 0o700)
    try:
        build(path)
        size = _harden(f"{path}/venv")
        sync_disk(path)
        facts = {"size_bytes": size, "packages": packages(f"{path}/venv")}
        write_durably(f"{path}/{COMPLETE}", facts)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def lead_to(venv: str, base: str) -> None:
    """Let the environment's interpreter be ``base`` again. Packages may have put a link to anywhere
    there, and what the interpreter leads to is shown to every job that uses the environment.

    Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(f"{venv}/bin", flags)
    try:
        os.unlink("python", dir_fd=folder)
        os.symlink(base, "python", dir_fd=folder)
    finally:
        os.close(folder)


def packages(venv: str) -> list[str]:
    """Return the names of what is installed, normalised."""
    found = set()
    for site in os.listdir(f"{venv}/lib"):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"{venv}/lib/{site}/site-packages"):
                if name.endswith(".dist-info"):
                    found.add(re.sub(r"[-_.]+", "-", name.split("-")[0]).lower())
    return sorted(found)


def size_of(path: str) -> int:
    """Return the bytes on disk below a folder."""
    total = 0
    for _, _, files, fd in os.fwalk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.stat(name, dir_fd=fd, follow_symlinks=False).st_blocks * 512
    return total


def _harden(venv: str) -> int:
    """Take the environment away from who built it and make its files read-only; return bytes."""
    root, total = os.getuid() == 0, 0
    for _, folders, files, fd in os.fwalk(venv):
        os.fchmod(fd, 0o755)
        for name in (*folders, *files):
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if root:
                os.chown(name, 0, 0, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                os.chmod(name, facts.st_mode & 0o555 | 0o444, dir_fd=fd)
                total += facts.st_blocks * 512
    if root:
        os.chown(venv, 0, 0)
    return total


def _own(path: str, account: str) -> None:
    if _PLAIN.match(account):
        with contextlib.suppress(OSError):
            os.close(os.open(f"{path}/owners/{account}", os.O_WRONLY | os.O_CREAT, 0o600))


def _owned(path: str, account: str) -> bool:
    return bool(_PLAIN.match(account)) and os.path.exists(f"{path}/owners/{account}")


def _lock(root: str, key: str, how: int) -> int | None:
    """Return the held lock, or None if another has it or the file was just removed."""
    path = f"{root}/{key}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None
