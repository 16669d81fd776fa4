"""Where a runner starts. Four methods; what an executor cannot do is a separate Protocol (law
10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from trainshed.domain.resources import Offer


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a runner is started with (D5). The token is never in an argument list or
    environment.
    """

    attempt_id: str
    runner_token: str
    api_url: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What ``poll`` saw of one runner.

    ``alive``: the runner runs. ``outcome``: its last report, fsynced before it called home, if
    the runner is gone and left one; the shape is ``wire.v1.Finished`` as a dict.
    """

    alive: bool
    outcome: Mapping[str, Any] | None = None


class Executor(Protocol):
    """Called from worker threads, never inside a transaction. Handles are small JSON objects."""

    name: str

    def offers(self) -> Sequence[Offer]:
        """Return what this executor could run when idle."""

    def launch(self, order: Launch) -> Mapping[str, Any]:
        """Start a runner; return the handle that ``poll`` and ``stop`` take later, also after
        a restart of the server. Raises Unavailable when it cannot."""

    def poll(self, handles: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Observation]:
        """Look at runners by attempt id; never blocks for long, never kills."""

    def stop(self, attempt_id: str, handle: Mapping[str, Any]) -> bool:
        """Kill the runner and the whole tree of its user process now; True once it is certain
        that nothing of it is left."""


@runtime_checkable
class Rests(Protocol):
    """Executors with a process of their own that waits for the next Attempt."""

    def shut(self) -> bool:
        """Have it leave; False, and nothing happens, while it has runners."""


@runtime_checkable
class KeepsLogs(Protocol):
    """Executors whose runners' log files lie on this machine."""

    def rest_of_log(self, attempt_id: str, stream: str, offset: int, n_bytes: int) -> bytes:
        """Return at most ``n_bytes`` of a stream from ``offset``: what a runner that is gone may
        not have sent. Nothing if the job cut the file, so that its offsets are others.
        """


@runtime_checkable
class KeepsEnvironments(Protocol):
    """Executors that keep built environments on this machine."""

    def trim_environments(self, limit_bytes: int) -> None:
        """Remove those that no runner uses, the longest unused first, down to the limit."""


@runtime_checkable
class KeepsCaches(Protocol):
    """Executors that keep caches of closed workloads on this machine."""

    def trim_caches(self, limit_bytes: int) -> None:
        """Remove the oldest files down to the limit; may do so once a minute only."""


@runtime_checkable
class Cleans(Protocol):
    """Executors that keep files of an Attempt on this machine."""

    def workspaces(self) -> list[str]:
        """Attempt ids that have files here."""

    def clean(self, attempt_id: str) -> None:
        """Remove the workspace; absent is fine."""
