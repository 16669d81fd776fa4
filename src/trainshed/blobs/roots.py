"""Directories that the operator granted to accounts: opened beneath, never through a link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class GrantedRoots:
    """``ports.roots.Roots`` on directories by account name."""

    def __init__(self, grants: Mapping[str, Sequence[Path]]) -> None:
        """Take what is granted; the directories need not be there yet."""
        self._grants = grants

    def files(self, account_name: str, key: str, limit: int) -> Iterator[tuple[str, BinaryIO]]:
        """Yield what ``key`` names below the first root that has it."""
        for root in self._grants.get(account_name, ()):
            with contextlib.suppress(OSError):
                fd = _beneath(root, key)
                with contextlib.closing(_Descriptor(fd)):
                    yield from _all(fd, limit)
                return


class _Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


def _beneath(root: Path, key: str) -> int:
    """Return a descriptor of ``root/key``, reached part by part. Raises OSError."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in key.split("/"):
        try:
            below = os.open(part, _FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _all(fd: int, limit: int) -> Iterator[tuple[str, BinaryIO]]:
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        with os.fdopen(os.dup(fd), "rb") as file:
            yield "", file
    elif stat.S_ISDIR(mode):
        left = limit
        for folder, _, names, folder_fd in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            for name in sorted(names):
                with contextlib.suppress(OSError):
                    one = os.open(name, _FLAGS, dir_fd=folder_fd)
                    with os.fdopen(one, "rb") as file:
                        if not stat.S_ISREG(os.fstat(one).st_mode):
                            continue
                        yield f"{folder}/{name}".removeprefix("./"), file
                        left -= 1
                        if not left:
                            return
