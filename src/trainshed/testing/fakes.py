"""Working in-memory stand-ins for ports, for tests of use cases and of third-party plug-ins."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from trainshed.domain.errors import Unavailable
from trainshed.domain.ids import format_id
from trainshed.domain.resources import GIB, Offer
from trainshed.ports.executor import Launch, Observation


class ManualClock:
    """Stands still until told: ``advance`` moves both clocks, ``jump`` the wall alone."""

    def __init__(self) -> None:
        """Start at a fixed instant."""
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.mono = 1000.0

    def utc_now(self) -> datetime:
        """Return the wall time."""
        return self.now

    def monotonic(self) -> float:
        """Return the monotonic seconds."""
        return self.mono

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.mono += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP would."""
        self.now += timedelta(seconds=seconds)


class CountingIds:
    """Predictable ids and tokens."""

    def __init__(self) -> None:
        """Count from 1."""
        self._next = itertools.count(1)

    def new(self, kind: str) -> str:
        """Return the next id of ``kind``."""
        return format_id(kind, f"{next(self._next):032x}")

    def token(self, n_bytes: int = 32) -> str:
        """Return a token as long as a real one would be."""
        return f"{next(self._next):0{n_bytes}x}"


class SilentBus:
    """Nobody waits."""

    def notify(self, topic: str) -> None:
        """Forget it."""

    async def wait(self, topic: str, timeout_s: float) -> bool:
        """Return at once."""
        return False


class FakeExecutor:
    """Runs nothing: a test says what became of each runner."""

    name = "process"

    def __init__(self, millicpus: int = 2000, memory_bytes: int = 8 * GIB) -> None:
        """Offer one machine."""
        self.machine = Offer("local", "process", "local-cpu", millicpus, memory_bytes)
        self.running: dict[str, Launch] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.refuse = False
        self.immortal: set[str] = set()

    def offers(self) -> Sequence[Offer]:
        """Return the one machine."""
        return [self.machine]

    def launch(self, order: Launch) -> Mapping[str, Any]:
        """Remember the order; raises Unavailable while ``refuse`` is set."""
        if self.refuse:
            raise Unavailable("The executor refuses to launch.")
        self.running[order.attempt_id] = order
        return {"pid": len(self.running)}

    def poll(self, handles: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Observation]:
        """Report what the test set up."""
        return {a: Observation(a in self.running, self.outcomes.get(a)) for a in handles}

    def stop(self, attempt_id: str, handle: Mapping[str, Any]) -> bool:
        """Kill; False for those that a test made ``immortal``."""
        if attempt_id in self.immortal:
            return False
        self.running.pop(attempt_id, None)
        return True
