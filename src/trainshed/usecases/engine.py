"""What the engine's own verbs are given: the wings, and the live leases of this server."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from trainshed.domain.resources import Pool
from trainshed.ports.deps import Deps
from trainshed.usecases.leases import Leases


@dataclass(slots=True)
class Seat:
    """This server among several: its name, and its term as dispatcher (0: another is it), good
    until that monotonic second.
    """

    holder: str = ""
    term: int = 0
    good_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One per server. ``turn``: account -> the lane after which the next round goes on, where it
    has more lanes than one round looks at. ``begun``: the monotonic second of its start.
    """

    deps: Deps
    leases: Leases = field(repr=False)
    seat: Seat = field(default_factory=Seat, repr=False)
    turn: dict[str, str] = field(default_factory=dict, repr=False)
    begun: float = -inf

    @property
    def pools(self) -> dict[str, Pool]:
        """Pools by name."""
        return {p.name: p for p in self.deps.pools}

    def renew(self, attempt_id: str) -> None:
        """Note that an Attempt's runner was heard of; its row learns of it later."""
        clock = self.deps.clock
        self.leases.renew(attempt_id, clock.monotonic(), clock.utc_now())


def runner_token(deps: Deps, attempt_id: str) -> str:
    """Return the secret of an Attempt's runner; derived, so that a restarted server still knows
    it.
    """
    return f"tsr_{attempt_id[4:]}_{deps.secrets.sign(b'runner-token:' + attempt_id.encode())}"


def job_token(deps: Deps, attempt_id: str) -> str:
    """Return the secret that the user's process of an Attempt may use while it lives (D6)."""
    return f"tsj_{attempt_id[4:]}_{deps.secrets.sign(b'job-token:' + attempt_id.encode())}"
