"""Directories of the machine that the operator lets an account take inputs from (D8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol


class Roots(Protocol):
    """Thread-safe. Nothing is granted by default."""

    def files(self, account_name: str, key: str, limit: int) -> Iterator[tuple[str, BinaryIO]]:
        """Yield (path below ``key``, open file) of what ``key`` names below the account's first
        root that has it: one pair with path ``''`` for a file, at most ``limit`` for a folder.

        Each file is closed when the next is asked for. No link is followed, whatever is opened is
        a regular file below the root; nothing is yielded for what is not there.
        """
