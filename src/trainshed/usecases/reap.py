"""What became of the runners: leases that ran out, ends that never called home, takeover (D3,
D4).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from trainshed.domain.attempt import Attempt, Ending, Start
from trainshed.domain.errors import StaleLease
from trainshed.ports.executor import Executor, KeepsLogs, Observation
from trainshed.ports.streams import LOG_STREAMS, StreamInfo
from trainshed.usecases import attempts, logs
from trainshed.usecases.engine import Engine

#: Of each log of a dead runner, since the round that ends its lease waits; the rest is dropped.
RESCUED = 64 * 1024**2
RESCUED_AT_ONCE = 1024**2


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
    _rescue_logs(engine, attempt_id, executor)
    last = executor.poll({attempt_id: held.handle or {}}).get(attempt_id)
    ending = Ending("lost", message="The runner stopped answering; its processes are gone.")
    if last is not None and last.outcome is not None:
        ending = ending_of(last.outcome)
    try:
        attempts.finish(engine, attempt_id, ending)
    except StaleLease:
        engine.leases.drop(attempt_id)
    return True


def _rescue_logs(engine: Engine, attempt_id: str, executor: Executor) -> None:
    """Append what a dead runner had not sent of its logs (G13)."""
    if not isinstance(executor, KeepsLogs):
        return
    infos = {i.stream: i for i in engine.deps.store.read(lambda tx: tx.streams.info(attempt_id))}
    for stream in LOG_STREAMS:
        info = infos.get(stream) or StreamInfo(stream, 0, False)
        with contextlib.suppress(StaleLease):
            _rescue_log(engine, attempt_id, info, executor)
    engine.deps.bus.notify(f"stream:{attempt_id}")


def _rescue_log(engine: Engine, attempt_id: str, info: StreamInfo, executor: KeepsLogs) -> None:
    store, stream, at, full = engine.deps.store, info.stream, info.size, info.truncated
    while not full and at - info.size < RESCUED:
        data = executor.rest_of_log(attempt_id, stream, at, RESCUED_AT_ONCE)
        if not data:
            return
        at, full = store.write(logs.appending(engine, attempt_id, stream, at, data))
    store.write(lambda tx: tx.streams.truncate(attempt_id, stream))


def flush(engine: Engine) -> None:
    """Write ``renewed_at`` of what was renewed since the last flush."""
    dirty = engine.leases.flush()
    if dirty:
        engine.deps.store.write(lambda tx: tx.attempts.renew(dirty))
