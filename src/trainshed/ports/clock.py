"""Time and ids come in by these ports, so that tests own them (law 1, D12)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for people, one for durations."""

    def utc_now(self) -> datetime:
        """Return the wall time, aware, UTC: for people and schedules."""

    def monotonic(self) -> float:
        """Return seconds of CLOCK_BOOTTIME: for every expiry and duration."""


class Ids(Protocol):
    """Randomness for names and secrets."""

    def new(self, kind: str) -> str:
        """Return a fresh id of ``kind`` (a key of ``domain.ids.PREFIXES``)."""

    def token(self, n_bytes: int = 32) -> str:
        """Return a URL-safe random secret of ``n_bytes`` bytes of entropy."""
