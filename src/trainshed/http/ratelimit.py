"""Our own GCRA: one number a caller says how much is left and when to come back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainshed.domain.errors import Overloaded, RateLimited
from trainshed.ports.clock import Clock

PERIOD_S = 60.0
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Decision:
    """What one request may know of its limit; ``retry_after_s`` is 0 when it was let in."""

    limit: int
    remaining: int
    reset_s: float
    retry_after_s: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell the caller."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(_up(self.reset_s)),
        }

    def check(self) -> None:
        """Raise RateLimited if the request was not let in."""
        if self.retry_after_s > 0:
            raise RateLimited(
                f"More than {self.limit} requests a minute; try again in"
                f" {_up(self.retry_after_s)} s.",
                retry_after_s=_up(self.retry_after_s),
            )


class Gcra:
    """``limit`` a minute, all of it at once if unused before. Not thread-safe: callers lock."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nobody known."""
        self._clock = clock
        self._tat: dict[str, float] = {}

    def hit(self, key: str, limit: int, peek: bool = False) -> Decision:
        """Count one request of ``key`` (with ``peek``: only look)."""
        now = self._clock.monotonic()
        step = PERIOD_S / limit
        tat = max(self._tat.get(key, now), now)
        early = tat + step - PERIOD_S - now
        if early > 1e-9:
            return Decision(limit, 0, tat - now, early)
        if not peek:
            tat += step
            self._tat[key] = tat
            if len(self._tat) > MAX_ENTRIES:
                self._tat = {k: t for k, t in self._tat.items() if t > now}
        left = int((PERIOD_S - (tat - now)) / step + 1e-9)
        return Decision(limit, max(left, 0), tat - now)


class Limiter:
    """Requests a minute by tier (an account's ``rate_limit``); 0 or an unknown tier is no limit."""

    def __init__(self, clock: Clock, tiers: Mapping[str, int]) -> None:
        """Take the tiers, by name."""
        self._gcra, self._tiers = Gcra(clock), tiers

    def hit(self, key: str, tier: str) -> Decision | None:
        """Count one request; None if the tier has no limit. Call on the event loop only."""
        limit = self._tiers.get(tier, 0)
        return self._gcra.hit(key, limit) if limit else None


class LoginThrottle:
    """Slows guessing: by (name, address) exponentially, by address and by name with a GCRA.

    An address that has logged in as a name before is not held up by others' guesses at it, so
    nobody can lock a person out. Thread-safe.
    """

    FREE = 3
    MAX_DELAY_S = 60.0
    FORGET_S = 900.0
    BY_ADDRESS = 30
    BY_NAME = 40
    AT_ONCE = 2
    WAITING = 8

    def __init__(self, clock: Clock) -> None:
        """Begin with nobody known."""
        self._clock, self._lock = clock, threading.Lock()
        self._gcra = Gcra(clock)
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._proven: dict[tuple[str, str], None] = {}
        self._hashing = threading.Semaphore(self.AT_ONCE)
        self._waiting = 0

    def check(self, name: str, address: str) -> None:
        """Raise RateLimited while this caller has to wait."""
        with self._lock:
            waits = [self._gcra.hit(f"a:{address}", self.BY_ADDRESS, peek=True).retry_after_s]
            if name:
                waits.append(self._delay(name, address))
            if name and (name, address) not in self._proven:
                waits.append(self._gcra.hit(f"n:{name}", self.BY_NAME, peek=True).retry_after_s)
        wait = max(waits)
        if wait > 0:
            raise RateLimited(
                f"Too many attempts; try again in {_up(wait)} s.", retry_after_s=_up(wait)
            )

    def failed(self, name: str, address: str) -> None:
        """Note a wrong guess."""
        now = self._clock.monotonic()
        with self._lock:
            self._gcra.hit(f"a:{address}", self.BY_ADDRESS)
            if not name:
                return
            self._gcra.hit(f"n:{name}", self.BY_NAME)
            n, last = self._failures.get((name, address), (0, now))
            n = 0 if now - last > self.FORGET_S else n
            self._failures[(name, address)] = (n + 1, now)
            if len(self._failures) > MAX_ENTRIES:
                old = now - self.FORGET_S
                self._failures = {k: v for k, v in self._failures.items() if v[1] > old}

    def succeeded(self, name: str, address: str) -> None:
        """Note a right one."""
        with self._lock:
            self._failures.pop((name, address), None)
            self._proven[(name, address)] = None
            if len(self._proven) > MAX_ENTRIES:
                self._proven.pop(next(iter(self._proven)))

    @contextlib.contextmanager
    def hashing(self) -> Iterator[None]:
        """Hash at most two passwords at once: login must not be a way to stop the server."""
        with self._lock:
            if self._waiting >= self.WAITING:
                raise Overloaded("Too many logins at once; try again.", retry_after_s=1)
            self._waiting += 1
        try:
            with self._hashing:
                yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _delay(self, name: str, address: str) -> float:
        n, last = self._failures.get((name, address), (0, 0.0))
        if n <= self.FREE:
            return 0.0
        pause = min(2.0 ** min(n - self.FREE - 1, 10), self.MAX_DELAY_S)
        return max(0.0, last + pause - self._clock.monotonic())


def _up(seconds: float) -> int:
    return -int(-seconds // 1)
