"""Which server, and which key: arguments, then the environment, then the file, then this machine.

The file is ``~/.middleman/config``: the API key and nothing else, mode 0600. Earlier versions wrote
the same file.
"""

from __future__ import annotations

import os
from pathlib import Path

from middleman.errors import as_ours

DEFAULT_URL = "http://localhost:8000/api/v1"
KEY_VARIABLE = "MIDDLEMAN_API_KEY"
URL_VARIABLE = "MIDDLEMAN_API_URL"


def config_path() -> Path:
    """Return where the file is, whether it exists or not."""
    return Path.home() / ".middleman" / "config"


def base_url(given: str | None = None) -> str:
    """Return the address of the API, without a slash at the end."""
    return (given or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def environment_key() -> str | None:
    """Return the key in the environment, if there is one."""
    return os.environ.get(KEY_VARIABLE, "").strip() or None


def stored_key() -> str | None:
    """Return the key in the file, if there is one. A file that others can read is made 0600.

    Raises:
        MiddlemanError: it cannot be read, or is not ours to make private.
    """
    from trainshed_client.files import make_private

    path = config_path()
    try:
        with as_ours(), path.open(encoding="utf-8", errors="replace") as file:
            make_private(path, file.fileno())
            return file.read().strip() or None
    except FileNotFoundError:
        return None


def store_key(key: str) -> Path:
    """Write the key to the file and return its path."""
    from trainshed_client.files import write_private

    return write_private(config_path(), key)
