"""The machine's clocks and randomness, behind ``ports.clock``."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime

from trainshed.domain.ids import format_id


class SystemClock:
    """Wall time for people, CLOCK_BOOTTIME for durations: it neither jumps nor stops in suspend."""

    def utc_now(self) -> datetime:
        """Return the wall time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemIds:
    """The kernel's randomness."""

    def new(self, kind: str) -> str:
        """Return a fresh id."""
        return format_id(kind, uuid.uuid4().hex)

    def token(self, n_bytes: int = 32) -> str:
        """Return a URL-safe secret."""
        return secrets.token_urlsafe(n_bytes)
