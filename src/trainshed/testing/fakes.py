"""Working in-memory stand-ins for ports, for tests of use cases and of third-party plug-ins."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from trainshed.domain.artifact import BlobRef
from trainshed.domain.errors import DigestConflict, NotFound, Unavailable
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

    closing = False

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


class MemoryBlobs:
    """Content in a dict, by account and md5."""

    def __init__(self) -> None:
        """Start empty."""
        self.kept: dict[str, dict[str, bytes]] = {}

    def writer(self, account_id: str) -> MemoryWriter:
        """Begin an upload."""
        return MemoryWriter(self.kept.setdefault(account_id, {}))

    def open(self, account_id: str, md5: str) -> BinaryIO:
        """Open for reading."""
        return io.BytesIO(self.read(account_id, md5))

    def read(self, account_id: str, md5: str) -> bytes:
        """Return content whole. Raises NotFound."""
        try:
            return self.kept[account_id][md5]
        except KeyError:
            raise NotFound("There is no such content.") from None

    def exists(self, account_id: str, md5: str) -> bool:
        """Whether it is there."""
        return md5 in self.kept.get(account_id, {})

    def delete(self, account_id: str, md5: str) -> None:
        """Remove it."""
        self.kept.get(account_id, {}).pop(md5, None)

    def listing(self, account_id: str) -> Iterator[tuple[str, int, float]]:
        """Yield what there is; everything is as old as the epoch."""
        yield from ((md5, len(data), 0.0) for md5, data in self.kept.get(account_id, {}).items())

    def put_dir(self, account_id: str, entries: list[tuple[str, str]]) -> str:
        """Store DVC's directory object."""
        rows = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries)]
        data = json.dumps(rows, sort_keys=True).encode()
        name = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
        self.kept.setdefault(account_id, {})[name] = data
        return name

    def free_bytes(self) -> int:
        """As much as anyone could want."""
        return 2**50


class MemoryWriter:
    """One upload to ``MemoryBlobs``."""

    def __init__(self, target: dict[str, bytes]) -> None:
        """Nothing is visible before ``commit``."""
        self._target, self._data = target, bytearray()

    def write(self, data: bytes) -> None:
        """Append."""
        self._data += data

    def commit(self, md5: str | None = None, sha256: str | None = None) -> BlobRef:
        """Check and publish. Raises DigestConflict."""
        data = bytes(self._data)
        found = BlobRef(
            hashlib.md5(data, usedforsecurity=False).hexdigest(),
            hashlib.sha256(data).hexdigest(),
            len(data),
        )
        if md5 not in (None, found.md5) or sha256 not in (None, found.sha256):
            raise DigestConflict("The content does not have the announced digest.")
        self._target[found.md5] = data
        return found

    def abort(self) -> None:
        """Drop it."""
        self._data.clear()
