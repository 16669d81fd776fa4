"""Files of ours: whole or absent, and private where they hold a token."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mimaas.exceptions import ConfigurationError

HOME = Path("~/.mimaas")


def home() -> Path:
    """Return the folder of the configuration, whether it exists or not."""
    return HOME.expanduser()


@contextmanager
def landing(place: Path) -> Iterator[BinaryIO]:
    """Give a temporary file beside ``place`` that takes its name when the block ends well."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def read_private(path: Path) -> str | None:
    """Return the text of a file that holds a token, None if there is none.

    A file that others can read is made 0600 first.

    Raises:
        ConfigurationError: it cannot be read, or is not ours to make private.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _make_private(path, file.fileno())
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def write_private(path: Path, text: str) -> None:
    """Write ``path`` whole, mode 0600; the folder ``~/.mimaas`` gets mode 0700.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.parent == home() and os.name == "posix":
            path.parent.chmod(0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".mimaas-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:  # mkstemp makes it 0600
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error


def _make_private(path: Path, descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode & 0o777
    if os.name != "posix" or not mode & 0o077:
        return
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path} holds a token and others can read it (mode {mode:04o}); run: chmod 600 {path}"
        ) from error
