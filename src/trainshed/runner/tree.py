"""The processes below one process: find them, measure them, end them for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

from trainshed.runner.system import read_text, stat_fields

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
INITS = frozenset({"bwrap", "catatonit", "podman-init", "docker-init", "tini"})
SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "env", "time", "nohup", "setpriv", "bwrap"})


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree uses now. ``rss_bytes`` counts pages that processes share once each."""

    rss_bytes: int
    cpu_ms: int
    processes: int


def children(pid: int) -> list[int]:
    """Return the direct children of every thread of ``pid``."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        text = read_text(f"/proc/{pid}/task/{thread}/children")
        found.extend(int(part) for part in text.split())
    return found


def descendants(pid: int) -> list[int]:
    """Return everything below ``pid``, parents before children."""
    found: list[int] = []
    level = children(pid)
    seen: set[int] = set()
    while level:
        found.extend(level)
        seen.update(level)
        level = [child for one in level for child in children(one) if child not in seen]
    return found


def usage(root: int, itself: bool = False) -> Usage:
    """Return the figures of everything below ``root``, and with ``itself`` of it too."""
    rss = ticks = count = 0
    for pid in [*([root] * itself), *descendants(root)]:
        fields = stat_fields(pid)
        if len(fields) > 21:
            count += 1
            rss += int(fields[21]) * PAGE
            ticks += sum(int(part) for part in fields[11:15])
    return Usage(rss, ticks * 1000 // TICKS, count)


def user_process(pid: int, wrapped: bool) -> int | None:
    """Return the user's own process, given what the runner spawned.

    bwrap is a monitor, then the init of the namespace, then the user's process, its first child.
    """
    if not wrapped:
        return pid
    for init in children(pid)[:1]:
        below = children(init)
        return min(below, key=lambda one: int((stat_fields(one) or ["0"] * 20)[19]), default=None)
    return None


def first_user_process(init: int) -> int:
    """Return the user's own process in a container: its first, or what an init there started."""
    return min(children(init), default=init) if _namespace_init(init) else init


def ask_to_end(main: int | None, root: int, sent: set[int], everyone: bool) -> None:
    """Send SIGTERM once to each process that should hear it.

    The user's process hears it; its workers do not, unless ``everyone``: training code ends its own
    workers. A shell that does not trap SIGTERM would die and leave what it runs, so its
    children hear it first and it only once they are gone.
    """
    targets = descendants(root) if everyone or main is None else _listeners(main, sent)
    for pid in targets:
        if pid not in sent and not _namespace_init(pid):
            sent.add(pid)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)


def _listeners(pid: int, sent: set[int]) -> list[int]:
    below = children(pid)
    if not below or read_text(f"/proc/{pid}/comm").strip() not in SHELLS:
        return [pid]
    found = [one for child in below for one in _listeners(child, sent)]
    return [*found, pid] if _catches_term(pid) else found


def _catches_term(pid: int) -> bool:
    for line in read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _namespace_init(pid: int) -> bool:
    return read_text(f"/proc/{pid}/comm").strip() in INITS


def wait_for_children(deadline_s: float) -> bool:
    """Reap children until none is left; False if some are after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.005)


def end_children(deadline_s: float | None = None) -> bool:
    """Kill everything below this process (a subreaper) and reap it; True once nothing is left.

    Whatever a killed process leaves becomes our child, so the loop ends only with the last one.
    """
    me, wait = os.getpid(), 0.0005
    end = None if deadline_s is None else time.monotonic() + deadline_s
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        kill_all(descendants(me))
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(wait)
        wait = min(wait * 2, 0.05)


def kill_all(pids: list[int]) -> None:
    """SIGKILL each; gone is fine."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
