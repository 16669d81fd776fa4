"""When to try again, and how long to wait first. Pure: the caller sleeps."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

#: Answers after which the same request may well succeed.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Backoff:
    """Full-jitter exponential back-off.

    Attributes:
        tries: How often a call is sent at most, the first time included.
        base_s: Upper bound of the first wait; it doubles every time.
        cap_s: No wait of our own is longer.
        patience_s: A longer ``Retry-After`` is not waited for; the error is raised instead.
        draw: Returns a number in [0, 1).
    """

    tries: int = 5
    base_s: float = 0.25
    cap_s: float = 8.0
    patience_s: float = 60.0
    draw: Callable[[], float] = random.random

    def wait_s(self, n_failed: int, asked_s: float | None = None) -> float | None:
        """Return the seconds to wait after ``n_failed`` tries, or None to give up.

        ``asked_s`` is what the server asked for; we never come back sooner.
        """
        if n_failed >= self.tries or (asked_s is not None and asked_s > self.patience_s):
            return None
        jitter = self.draw() * min(self.cap_s, self.base_s * 2.0 ** min(n_failed - 1, 16))
        return jitter if asked_s is None else asked_s + jitter * 0.1


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for (a number or a date), None if none."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=now.tzinfo)
    return max(0.0, (at - now).total_seconds())
