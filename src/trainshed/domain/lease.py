"""A lease is the time-limited sole right to an Attempt; its fencing token guards every write
(D3).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainshed.domain.errors import StaleLease


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Durations in seconds: how often the runner renews, and how long a lease lives without."""

    heartbeat_s: float = 5.0
    term_s: float = 25.0
    orphan_grace_s: float = 900.0


def check_token(current: int, presented: int) -> None:
    """Raise StaleLease unless ``presented`` is the newest token granted for the Attempt."""
    if presented != current:
        raise StaleLease("A newer lease exists for this attempt; this result was dropped.")


def deadline(renewed_mono: float, terms: LeaseTerms) -> float:
    """Return the monotonic second at which a lease renewed at ``renewed_mono`` expires."""
    return renewed_mono + terms.term_s


def expired(renewed_mono: float, now_mono: float, terms: LeaseTerms) -> bool:
    """Return whether a lease renewed at ``renewed_mono`` has run out. Monotonic: wall jumps do not
    count.
    """
    return now_mono > deadline(renewed_mono, terms)
