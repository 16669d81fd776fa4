"""Orders that an Attempt's runner finds when it asks: stop, for one reason or another, or save."""

from __future__ import annotations

from dataclasses import replace

from trainshed.domain.attempt import STOPS, Attempt
from trainshed.ports.store import Tx


def leave(tx: Tx, live: Attempt | None, kind: str) -> Attempt | None:
    """Leave an order for the runner; return the Attempt, to be told after the commit.

    A cancel outranks the rest; no order replaces a cancel, and a checkpoint replaces no stop.
    """
    if live is None or live.order == "cancel":
        return live
    if kind == "checkpoint" and live.order in STOPS:
        return live
    ordered = replace(live, order=kind)
    tx.attempts.save_if_held(ordered)
    return ordered
