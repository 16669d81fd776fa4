"""Which server, and which key: arguments, then the environment, then a profile, then this machine.

The file is ``$XDG_CONFIG_HOME/trainshed/config.toml``, mode 0600:

    default = "home"

    [profiles.home]
    url = "http://127.0.0.1:8000"
    api_key = "ts_…"
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from trainshed_client.errors import ConfigProblem
from trainshed_client.files import make_private, write_private

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Target:
    """A server and the key for it; ``profile`` is where they came from, if from one."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    profile: str | None = None


@dataclass(frozen=True)
class Config:
    """What is in the file."""

    default: str | None = None
    profiles: dict[str, Target] = field(default_factory=dict)


def config_path() -> Path:
    """Return where the file is, whether it exists or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    home = Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    return home / "trainshed" / "config.toml"


def resolve(
    url: str | None = None, api_key: str | None = None, profile: str | None = None
) -> Target:
    """Return the server to use; ``TRAINSHED_URL``, ``_API_KEY``, ``_PROFILE`` beat the file.

    A ``profile`` that is asked for here beats the environment. A key from a profile is only ever
    used with the profile's own address.

    Raises:
        ConfigProblem: the named profile does not exist, or the file cannot be read.
    """
    env = os.environ if profile is None else {}
    url = url or env.get("TRAINSHED_URL") or None
    api_key = api_key or env.get("TRAINSHED_API_KEY") or None
    if url and api_key:
        return Target(url, api_key)
    wanted = profile or env.get("TRAINSHED_PROFILE") or None
    config = load()
    name = wanted or config.default
    found = config.profiles.get(name) if name else None
    if wanted and found is None:
        known = ", ".join(sorted(config.profiles)) or "none"
        raise ConfigProblem(f"There is no profile {wanted!r}; there are: {known}.")
    if found is None:
        return Target(url or DEFAULT_URL, api_key)
    same = url is None or url.rstrip("/") == found.url.rstrip("/")
    return Target(url or found.url, api_key or (found.api_key if same else None), name)


def load() -> Config:
    """Return what is in the file. A file that others can read is made 0600, and we say so.

    Raises:
        ConfigProblem: it is no TOML, or not ours to make private.
    """
    import tomllib

    path = config_path()
    try:
        with path.open("rb") as file:
            make_private(path, file.fileno())
            data = tomllib.load(file)
    except FileNotFoundError:
        return Config()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{path} cannot be used: {error}") from error
    profiles = data.get("profiles")
    targets = {
        name: Target(str(entry["url"]), entry.get("api_key"), name)
        for name, entry in (profiles if isinstance(profiles, dict) else {}).items()
        if isinstance(entry, dict) and "url" in entry
    }
    default = data.get("default")
    return Config(default if isinstance(default, str) else None, targets)


def store(target: Target, name: str) -> Path:
    """Write ``target`` as profile ``name``, make it the default, and return the file's path."""
    config = load()
    return _write(Config(name, {**config.profiles, name: target}))


def forget(name: str) -> bool:
    """Remove a profile; return whether there was one."""
    config = load()
    if name not in config.profiles:
        return False
    left = {k: v for k, v in config.profiles.items() if k != name}
    default = config.default if config.default in left else next(iter(left), None)
    _write(Config(default, left))
    return True


def _write(config: Config) -> Path:
    lines = [f"default = {_quoted(config.default)}\n"] if config.default else []
    for name, target in config.profiles.items():
        lines.append(f"\n[profiles.{_quoted(name)}]\nurl = {_quoted(target.url)}\n")
        if target.api_key:
            lines.append(f"api_key = {_quoted(target.api_key)}\n")
    return write_private(config_path(), "".join(lines))


def _quoted(text: str) -> str:
    """Return ``text`` as a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
