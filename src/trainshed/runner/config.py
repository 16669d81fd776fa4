"""What every Attempt of one data directory shares; found once by the template, before it forks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainshed.runner.sandboxes import Host

SYSTEM_DIRS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Config:
    """``library``: the folder with ``trainshed_job``. ``source``: the folder with ``trainshed``.

    ``engine_env``: what container engines get of the operator's environment.
    ``groups``: controller -> cgroup directory below which Attempts go.
    """

    data: str
    source: str
    library: str
    host: Host
    boot_id: str
    groups: Mapping[str, str] = field(default_factory=dict)
    engine_env: Mapping[str, str] = field(default_factory=dict)

    def workspace(self, attempt_id: str) -> str:
        """Return the Attempt's folder."""
        return f"{self.data}/workspaces/{attempt_id}"


def prefixes(python: str) -> list[str]:
    """Return the directories an interpreter needs: its environment's, and each it links to."""
    found: list[str] = []
    path = python
    for _ in range(16):
        home = os.path.dirname(os.path.dirname(path))
        if os.path.basename(os.path.dirname(path)) == "bin" and home not in ("", "/"):
            found.append(home)
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    real = os.path.realpath(python)
    found.append(os.path.dirname(os.path.dirname(real)))
    return [home for home in dict.fromkeys(found) if home not in ("", "/", "/usr")]
