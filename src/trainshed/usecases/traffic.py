"""How much is on its way to whom: what keeps one dead destination from delaying another.

One per server. Every destination has few tries in flight, a failing one a single try, an account a
share of all; turns go round.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from trainshed.domain.delivery import Subscription
from trainshed.ports.channel import Channel

TOTAL = 256
OF_ACCOUNT = 64


class Traffic:
    """Counts tries in flight, and remembers what each destination was told lately. Thread-safe:
    tries begin on a worker thread and end on the event loop.
    """

    def __init__(self, total: int = TOTAL, of_account: int = OF_ACCOUNT) -> None:
        """Nothing is on its way."""
        self._total, self._of_account = total, of_account
        self._guard = threading.Lock()
        self._flying: Counter[str] = Counter()
        self._accounts: Counter[str | None] = Counter()
        self._spent: dict[str, float] = {}
        self._last = ""

    @property
    def left(self) -> int:
        """How many more may be in flight."""
        with self._guard:
            return self._total - self._flying.total()

    def fair(self, waiting: Sequence[Subscription]) -> list[Subscription]:
        """Return them in order of id, beginning after the one that had the last turn."""
        ordered = sorted(waiting, key=lambda s: s.id)
        later = [s for s in ordered if s.id > self._last]
        return later + ordered[: len(ordered) - len(later)]

    def room(self, one: Subscription, channel: Channel | None, now: float) -> int:
        """Return how many tries of a Subscription may begin now.

        A destination is filled up once half of its tries have ended, so that claims are few.
        """
        at_once = channel.at_once if channel is not None else 1
        with self._guard:
            flying = self._flying[one.id]
            if one.failing_since is not None:
                room = 1 - flying
            else:
                room = at_once - flying if flying <= at_once // 2 else 0
            room = min(room, self._of_account - self._accounts[one.account_id])
            if channel is not None and channel.pace is not None:
                room = min(room, channel.pace.room(self._spent.get(one.id, 0.0), now))
        return max(room, 0)

    def begin(self, one: Subscription, channel: Channel | None, now: float) -> None:
        """Count a try that begins."""
        with self._guard:
            self._flying[one.id] += 1
            self._accounts[one.account_id] += 1
            self._last = one.id
            if channel is not None and channel.pace is not None:
                spent = self._spent.get(one.id, 0.0)
                self._spent[one.id] = channel.pace.spend(spent, now, 1)

    def end(self, one: Subscription) -> None:
        """Count a try that has ended."""
        with self._guard:
            self._flying[one.id] -= 1
            self._accounts[one.account_id] -= 1
            self._flying, self._accounts = +self._flying, +self._accounts
