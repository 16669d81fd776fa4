"""How a runner is heard of, and hears: its heartbeat, and the long poll for orders beside it."""

from __future__ import annotations

from trainshed.usecases.attempts import live
from trainshed.usecases.engine import Engine

#: Within so many seconds of a look at its row an Attempt's heartbeat needs none: the long poll
#: for orders looks every second.
LOOKED_S = 3.0


def order_for(engine: Engine, attempt_id: str) -> str | None:
    """Return the open order. Renews nothing: whoever asks may be gone before the answer.

    Raises:
        StaleLease: the lease is gone.
    """
    order = engine.deps.store.read(lambda tx: live(tx, attempt_id).order)
    engine.leases.looked(attempt_id, engine.deps.clock.monotonic())
    return order


def heartbeat(engine: Engine, attempt_id: str) -> str | None:
    """Renew in memory; return the open order.

    Raises:
        StaleLease: the lease is gone.
    """
    attempt = engine.deps.store.read(lambda tx: live(tx, attempt_id))
    if engine.leases.get(attempt_id) is None:
        # Another server placed it, or has ended: whoever hears its runner renews its lease.
        engine.leases.grant(attempt, engine.deps.clock.monotonic(), engine.deps.clock.utc_now())
    engine.renew(attempt_id)
    engine.leases.looked(attempt_id, engine.deps.clock.monotonic())
    return attempt.order


def beat(engine: Engine, attempt_id: str) -> bool:
    """Renew in memory alone; False where that is not enough: the runner's long poll, which tells
    it of orders and of the lease's end, has not looked at the row for a while.
    """
    held = engine.leases.get(attempt_id)
    if held is None or engine.deps.clock.monotonic() - held.looked > LOOKED_S:
        return False
    engine.renew(attempt_id)
    return True
