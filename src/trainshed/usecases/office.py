"""What only one server of several may do at a time: place, reap, keep house.

The database holds who does (one SQLite file has one server anyway). The holder renews in time;
every write that the office is for takes it once more in its own transaction, so that a server that
was stopped for a while and lost it changes nothing.
"""

from __future__ import annotations

from trainshed.ports.store import Tx
from trainshed.usecases.engine import Engine

#: The office of the dispatcher, and of what looks after leases and the house.
DISPATCH = "dispatch"
#: Seconds for which an office is held; the next server waits that long after a crash.
TTL_S = 15.0
#: How often its holder renews it.
RENEW_S = 5.0


def lead(engine: Engine) -> int:
    """Return the number of this server's term as dispatcher, 0 if another server is it."""
    deps, seat = engine.deps, engine.seat
    mono = deps.clock.monotonic()
    if mono < seat.good_until:
        return seat.term
    now = deps.clock.utc_now()
    seat.term = deps.store.write(
        lambda tx: tx.records.hold_office(DISPATCH, seat.holder, now, TTL_S)
    )
    seat.good_until = mono + (RENEW_S if seat.term else 0.0)
    return seat.term


def still(tx: Tx, engine: Engine, term: int) -> bool:
    """Whether, in this transaction, nobody else has been dispatcher since ``term`` began."""
    now = engine.deps.clock.utc_now()
    return tx.records.hold_office(DISPATCH, engine.seat.holder, now, TTL_S) == term


def leave(engine: Engine) -> None:
    """Let another server take over at once."""
    seat = engine.seat
    if seat.term:
        engine.deps.store.write(lambda tx: tx.records.leave_office(DISPATCH, seat.holder))
    seat.term, seat.good_until = 0, 0.0
