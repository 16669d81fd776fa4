"""The owning server's view of live leases: deadlines in memory, rows only for restarts (D12)."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from trainshed.domain.attempt import Attempt
from trainshed.domain.lease import LeaseTerms, expired


@dataclass(slots=True)
class Held:
    """One live lease. ``renewed`` is monotonic seconds; ``dirty`` says its row is behind;
    ``newest`` is the latest ``renewed_at`` that this server knows of (wall clocks jump).
    ``looked``: when its row was last seen to be live, monotonic seconds.
    """

    token: int
    runner_hash: str
    renewed: float
    renewed_at: datetime
    newest: datetime
    executor: str
    handle: Mapping[str, object] | None
    dirty: bool = False
    looked: float = -math.inf


class Leases:
    """Thread-safe. Renewing touches memory only; ``flush`` hands over what rows must learn."""

    def __init__(self, terms: LeaseTerms) -> None:
        """Start empty; ``grant`` is called for every live Attempt at start and at every lease."""
        self._terms = terms
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def grant(self, attempt: Attempt, mono: float, now: datetime) -> None:
        """Give a full fresh term."""
        held = Held(
            attempt.token, attempt.runner_token_hash, mono, now,
            max(now, attempt.renewed_at or now), attempt.executor, attempt.handle or None,
        )  # fmt: skip
        with self._lock:
            self._held[attempt.id] = held

    def launched(self, attempt_id: str, handle: Mapping[str, object]) -> None:
        """Remember how to find the runner."""
        with self._lock:
            if attempt_id in self._held:
                self._held[attempt_id].handle = handle

    def get(self, attempt_id: str) -> Held | None:
        """Return the lease, if it is live."""
        return self._held.get(attempt_id)

    def renew(self, attempt_id: str, mono: float, now: datetime) -> bool:
        """Extend; False when the lease is not (or no longer) live."""
        held = self._held.get(attempt_id)
        if held is None:
            return False
        held.renewed, held.renewed_at, held.dirty = mono, now, True
        held.newest = max(held.newest, now)
        return True

    def looked(self, attempt_id: str, mono: float) -> None:
        """Note that its row was seen to be live, and its order told."""
        held = self._held.get(attempt_id)
        if held is not None:
            held.looked = mono

    def seen(self, attempt_id: str, renewed_at: datetime, mono: float) -> bool:
        """Take over a renewal that another server wrote; False if there was none since ours."""
        held = self._held.get(attempt_id)
        if held is None or renewed_at <= held.newest:
            return False
        held.renewed = mono
        held.renewed_at = held.newest = renewed_at
        return True

    def drop(self, attempt_id: str) -> None:
        """Forget an ended Attempt."""
        with self._lock:
            self._held.pop(attempt_id, None)

    def expired(self, mono: float) -> list[str]:
        """Return attempt ids whose lease has run out."""
        with self._lock:
            return [a for a, h in self._held.items() if expired(h.renewed, mono, self._terms)]

    def handles(self) -> dict[str, dict[str, Mapping[str, object]]]:
        """Return executor -> attempt id -> handle of every launched runner."""
        out: dict[str, dict[str, Mapping[str, object]]] = {}
        with self._lock:
            for attempt_id, held in self._held.items():
                if held.handle is not None:
                    out.setdefault(held.executor, {})[attempt_id] = held.handle
        return out

    def flush(self) -> dict[str, tuple[int, datetime]]:
        """Return and clear what changed since the last flush: id -> (token, renewed_at)."""
        with self._lock:
            dirty = {a: (h.token, h.renewed_at) for a, h in self._held.items() if h.dirty}
            for attempt_id in dirty:
                self._held[attempt_id].dirty = False
        return dirty

    def __len__(self) -> int:
        """Number of live leases."""
        return len(self._held)
