"""The token on disk: ``~/.mimaas/token``, plain text, mode 0600."""

from __future__ import annotations

import re
from pathlib import Path

from mimaas.exceptions import ConfigurationError
from mimaas.files import home, read_private, write_private

_TOKEN = re.compile(r"[0-9a-fA-F]{64}")


def token_path(token_file: str | Path | None = None) -> Path:
    """Return where the token is kept: ``token_file``, or ``~/.mimaas/token``."""
    return Path(token_file).expanduser() if token_file else home() / "token"


def save_token(token: str, token_file: str | Path | None = None) -> None:
    """Write the token, readable by its owner alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_private(token_path(token_file), token)


def load_token(token_file: str | Path | None = None) -> str | None:
    """Return the stored token, None if there is none. Loosened permissions are repaired.

    Raises:
        ConfigurationError: it cannot be read, or its permissions cannot be repaired.
    """
    return (read_private(token_path(token_file)) or "").strip() or None


def delete_token(token_file: str | Path | None = None) -> bool:
    """Remove the stored token; return whether there was one.

    Raises:
        ConfigurationError: it cannot be removed.
    """
    path = token_path(token_file)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be removed: {error}") from error
    return True


def validate_token_format(token: str) -> bool:
    """Return whether this looks like a token: 64 hexadecimal digits."""
    return _TOKEN.fullmatch(token) is not None
