"""Which server, which token: arguments, then the environment, then files, then this machine.

| setting | argument | environment | file | default |
|---|---|---|---|---|
| address | ``api_url`` | ``MIMAAS_API_URL`` | config.yaml | ``http://localhost:8000`` |
| token | ``api_token`` | ``MIMAAS_API_TOKEN`` | token, then config.yaml | none |
| timeout in s | ``timeout`` | ``MIMAAS_TIMEOUT`` | config.yaml | 120 |

The files are in ``~/.mimaas``. An empty argument or variable counts as not given.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimaas.auth import load_token, token_path
from mimaas.exceptions import ConfigurationError
from mimaas.files import home, read_private, write_private

DEFAULT_API_URL = "http://localhost:8000"
DEFAULT_TIMEOUT_S = 120


@dataclass
class Config:
    """The settings of one client; they may be changed while it lives."""

    api_url: str
    api_token: str | None = field(repr=False)
    token_file: Path
    timeout: float
    verify_ssl: bool

    def __init__(
        self,
        api_url: str | None = None,
        api_token: str | None = None,
        token_file: str | Path | None = None,
        timeout: float | None = None,
        verify_ssl: bool = True,
    ) -> None:
        """Resolve every setting.

        Raises:
            ConfigurationError: a file or a value cannot be used.
        """
        stored = read_config()
        self.api_url = (
            api_url
            or os.environ.get("MIMAAS_API_URL")
            or _text(stored, "api_url")
            or DEFAULT_API_URL
        ).rstrip("/")
        self.token_file = token_path(token_file)
        self.api_token = (
            api_token
            or os.environ.get("MIMAAS_API_TOKEN")
            or load_token(self.token_file)
            or _text(stored, "api_token")
        )
        self.timeout = timeout or _environment_timeout() or _stored_timeout(stored)
        if self.timeout <= 0:
            raise ConfigurationError(f"timeout must be more than 0 seconds, not {timeout}.")
        self.verify_ssl = verify_ssl

    def save_config(self, **settings: Any) -> None:
        """Merge ``settings`` into ``~/.mimaas/config.yaml``, mode 0600.

        Raises:
            ConfigurationError: the file that is there cannot be used, or not be written.
        """
        import yaml

        merged = {**read_config(), **settings}
        write_private(config_path(), yaml.safe_dump(merged, allow_unicode=True))


def config_path() -> Path:
    """Return where the configuration file is, whether it exists or not."""
    return home() / "config.yaml"


def read_config() -> dict[str, Any]:
    """Return what ``~/.mimaas/config.yaml`` holds, {} if there is none.

    Raises:
        ConfigurationError: it is no YAML mapping.
    """
    path = config_path()
    text = read_private(path)
    if text is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        # The parser's own text quotes the file, which may hold a token.
        raise ConfigurationError(f"{path} is not valid YAML.") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigurationError(f"{path} must be a list of 'name: value' lines.")
    return found


def _text(stored: dict[str, Any], name: str) -> str | None:
    found = stored.get(name)
    if found is not None and not isinstance(found, str):
        raise ConfigurationError(f"{name} in {config_path()} must be text.")
    return found


def _environment_timeout() -> int | None:
    """Return ``MIMAAS_TIMEOUT``; what is no whole number counts as not given."""
    try:
        return int(os.environ.get("MIMAAS_TIMEOUT", ""))
    except ValueError:
        return None


def _stored_timeout(stored: dict[str, Any]) -> float:
    found = stored.get("timeout") or DEFAULT_TIMEOUT_S
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ConfigurationError(f"timeout in {config_path()} must be a number of seconds.")
    return found
