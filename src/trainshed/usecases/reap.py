"""What became of the runners: leases that ran out, ends that never called home, takeover (D3,
D4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainshed.domain.attempt import Attempt, Ending, Start
from trainshed.domain.errors import StaleLease
from trainshed.ports.executor import Observation
from trainshed.usecases import attempts
from trainshed.usecases.engine import Engine


def take_over(engine: Engine) -> list[Attempt]:
    """At start: grant every live lease one full fresh term; return the live Attempts.

    One that is still LEASED may never have been launched: launching it again is harmless, since
    an executor gives the same Attempt the same runner.
    """
    deps = engine.deps
    live = deps.store.read(lambda tx: tx.attempts.live())
    mono, now = deps.clock.monotonic(), deps.clock.utc_now()
    for one in live:
        engine.leases.grant(one, mono, now)
    return live


def look(engine: Engine) -> int:
    """Apply outcomes that runners left before they went, and end expired leases; return the count.
    Only for the dispatcher, of several servers.

    An Attempt is LOST only when its lease has expired and its executor has confirmed that
    nothing of its tree is left.
    """
    ended = 0
    for name, handles in engine.leases.handles().items():
        seen = engine.deps.executors[name].poll(handles)
        ended += sum(_apply(engine, a, o) for a, o in seen.items())
    for attempt_id in engine.leases.expired(engine.deps.clock.monotonic()):
        ended += _expire(engine, attempt_id)
    return ended


def ending_of(outcome: Mapping[str, object]) -> Ending:
    """Return the domain's Ending from a runner's ``Finished`` as a dict."""
    known = (
        "cause", "exit_code", "signal", "stopped_by", "runtime_ms", "message", "image_digest",
    )  # fmt: skip
    found: dict[str, Any] = {k: outcome[k] for k in known if k in outcome}
    return Ending(**found, start=start_of(outcome.get("started")))


def start_of(found: object) -> Start | None:
    """Return the domain's Start from a runner's ``Started`` as a dict."""
    if not isinstance(found, dict):
        return None
    known = ("isolation", "network", "image_digest", "age_ms")
    return Start(**{k: found[k] for k in known if k in found})


def _apply(engine: Engine, attempt_id: str, seen: Observation) -> bool:
    if seen.alive or seen.outcome is None:
        return False
    attempts.finish(engine, attempt_id, ending_of(seen.outcome))
    return True


def _expire(engine: Engine, attempt_id: str) -> bool:
    held = engine.leases.get(attempt_id)
    if held is None:
        return False
    stored = engine.deps.store.read(lambda tx: tx.attempts.get(attempt_id))
    if not stored.live:
        engine.leases.drop(attempt_id)
        return False
    mono = engine.deps.clock.monotonic()
    if stored.renewed_at and engine.leases.seen(attempt_id, stored.renewed_at, mono):
        return False
    executor = engine.deps.executors[held.executor]
    if not executor.stop(attempt_id, held.handle or {}):
        return False
    last = executor.poll({attempt_id: held.handle or {}}).get(attempt_id)
    ending = Ending("lost", message="The runner stopped answering; its processes are gone.")
    if last is not None and last.outcome is not None:
        ending = ending_of(last.outcome)
    try:
        attempts.finish(engine, attempt_id, ending)
    except StaleLease:
        engine.leases.drop(attempt_id)
    return True


def flush(engine: Engine) -> None:
    """Write ``renewed_at`` of what was renewed since the last flush."""
    dirty = engine.leases.flush()
    if dirty:
        engine.deps.store.write(lambda tx: tx.attempts.renew(dirty))
