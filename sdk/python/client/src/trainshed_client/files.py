"""Files of ours: whole or absent, and private where they hold secrets."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainshed_client.errors import ConfigProblem, InvalidInput, UnsafePath


def landing_place(target: Path, filename: str | None) -> Path:
    """Return where to save a download: ``target``, or ``filename`` in it if it is a folder.

    Raises:
        InvalidInput: there is no such folder.
        UnsafePath: ``filename``, which the server suggests, leads elsewhere.
    """
    if not target.is_dir():
        if not target.parent.is_dir():
            raise InvalidInput(f"There is no folder {target.parent}.")
        return target
    name = filename or "download"
    bad = name in ("", ".", "..") or any(c in "/\\:" or not c.isprintable() for c in name)
    if bad:
        raise UnsafePath(f"The server suggests the file name {name!r}; name a target file instead.")
    return target / name


@contextmanager
def landing(place: Path) -> Iterator[BinaryIO]:
    """Give a temporary file beside ``place`` that takes its name when the block ends well."""
    temporary = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def make_private(path: Path, descriptor: int) -> None:
    """Make an open file that holds keys 0600, and say so if it was not.

    Raises:
        ConfigProblem: it is not ours to change.
    """
    if os.name != "posix" or not os.fstat(descriptor).st_mode & 0o077:
        return
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise ConfigProblem(
            f"{path} holds keys and others can read it; run: chmod 600 {path}"
        ) from error
    print(
        f"warning: {path} could be read by others and holds keys; its mode is 0600 now. "
        "Rotate the keys if others use this machine.",
        file=sys.stderr,
    )


def write_private(path: Path, text: str) -> Path:
    """Write ``path`` whole, mode 0600, its folder made if absent, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # mkstemp makes it 0600
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
