"""How the user's process is started: pure argument builders, and the choice among them.

**Invariant:** a level is only claimed for what is really built: strong (mount and PID namespaces,
another uid), partial (another uid), none.
**Boundary:** builders are given facts (`Host`, `Box`) and return arguments; they start nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEVELS = ("none", "partial", "strong")


class Unreachable(Exception):
    """The wanted isolation cannot be built here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine can do; found once per template.

    ``bwrap``, ``setpriv``, ``unshare``, ``slirp``, ``ip``: paths, or None. ``bwrap_works``: a trial
    run succeeded.
    """

    root: bool
    bwrap: str | None = None
    setpriv: str | None = None
    unshare: str | None = None
    bwrap_works: bool = False
    why_not: str = ""
    slirp: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """What one job may see. ``writable`` and ``readable`` are host paths, the same inside.

    ``work``: the working directory. ``tmp``: also shown as /tmp where there is a mount namespace.
    ``hidden``: the data directory. ``etc``: what is shown as /etc, ``resolv`` as its resolv.conf.
    ``network``: stays in the network of whoever starts it. ``mounts``: (host path, path inside) of
    what is shown, writable, under another name.
    """

    work: str
    tmp: str
    writable: tuple[str, ...]
    readable: tuple[str, ...]
    uid: int | None
    network: bool
    gpus: bool = False
    hidden: str = ""
    etc: str = "/etc"
    mounts: tuple[tuple[str, str], ...] = ()
    resolv: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The sandbox to use and the level it gives. ``uid``: to change to, or None to stay."""

    kind: str
    level: str
    uid: int | None
    notes: tuple[str, ...] = ()


def choose(host: Host, asked: Mapping[str, Any], reachable: bool, uid: int) -> Choice:
    """Return the strongest sandbox that is allowed and works.

    ``reachable``: the interpreter and the workspace can be read by another uid without mounts.
    ``uid``: the one to use as root when the Assignment names none.

    Raises:
        Unreachable: it would be below ``asked["minimum"]``.
    """
    kind = str(asked.get("kind") or "auto")
    wanted = asked.get("uid")
    own = (wanted if isinstance(wanted, int) and wanted > 0 else uid) if host.root else None
    if kind in ("auto", "bwrap") and host.bwrap_works:
        found = Choice("bwrap", "strong", own)
    elif kind == "bwrap":
        raise Unreachable(_advice(f"bwrap does not work here: {host.why_not or 'not installed'}"))
    elif kind not in ("auto", "bare"):
        raise Unreachable(f"There is no sandbox {kind!r} here: auto, bwrap and bare are.")
    elif host.root and host.setpriv is not None and reachable:
        found = Choice("bare", "partial", own)
    else:
        found = Choice("bare", "none", None)
    minimum = str(asked.get("minimum") or "none")
    if LEVELS.index(found.level) < LEVELS.index(minimum if minimum in LEVELS else "strong"):
        what = f"This job must be isolated ({minimum}), and only {found.level} can be built here"
        raise Unreachable(_advice(what))
    return found


def _advice(what: str) -> str:
    return (
        f"{what}. Install bubblewrap (apt-get install bubblewrap), or let the operator lower the "
        "required isolation."
    )


def unique(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the paths without those that lie inside another one, parents first."""
    kept: list[str] = []
    for path in sorted({p.rstrip("/") for p in paths if p}):
        if not any(path == one or path.startswith(f"{one}/") for one in kept):
            kept.append(path)
    return tuple(kept)
