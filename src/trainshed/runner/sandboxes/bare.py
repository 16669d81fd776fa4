"""No namespaces: at most another uid. Only for jobs whose owners are trusted (D17)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from trainshed.runner.sandboxes import Box, Host


def arguments(host: Host, box: Box, command: Sequence[str]) -> list[str]:
    """Return the argument list that starts ``command`` with its rights dropped.

    It dies with the runner's main thread, which started it. Without setpriv nothing is dropped.
    """
    if host.setpriv is None:
        return list(command)
    args = [host.setpriv, "--no-new-privs", "--pdeathsig", "KILL", "--"]
    if box.uid is not None:
        args = [*drop(host.setpriv, box.uid)[:-1], "--pdeathsig", "KILL", "--"]
    if not box.network and host.unshare is not None and closes_network(host):
        args = [host.unshare, "--net", "--", *args]
    return [*args, *command]


def closes_network(host: Host) -> bool:
    """Return whether ``arguments`` can start a job without any network here."""
    return host.root and host.setpriv is not None and host.unshare is not None


def drop(setpriv: str, uid: int) -> list[str]:
    """Return the arguments that change to ``uid`` without a way back."""
    return [
        setpriv, "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", "--",
    ]  # fmt: skip


def reachable(paths: Sequence[str]) -> bool:
    """Return whether another uid can pass to each path: every directory above lets others
    through.
    """
    for path in paths:
        parts = os.path.realpath(path).split("/")
        for end in range(2, len(parts) + 1):
            try:
                mode = os.stat("/".join(parts[:end])).st_mode
            except OSError:
                return False
            if not mode & 0o001:
                return False
    return True
