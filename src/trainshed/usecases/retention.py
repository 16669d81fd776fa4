"""Old results go by age; what was paid stays: ledger, receipt, events and audit (D14)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.events import Event
from trainshed.ports.deps import Deps
from trainshed.ports.paging import After
from trainshed.ports.store import Tx

#: How many Attempts one transaction empties.
BATCH = 50
#: How long a delivery that was given up can be sent again.
REPLAYABLE = timedelta(days=90)


def expire(deps: Deps, after: After | None) -> After | None:
    """Remove logs, metrics and files of the next few Attempts whose Jobs ended too long ago;
    return where to go on, None at the end. At the beginning old dead deliveries go.

    Pinned checkpoints stay, and whatever a Job that has not ended still needs.
    """
    now = deps.clock.utc_now()
    if after is None:
        deps.store.write(lambda tx: tx.deliveries.purge_dead(now - REPLAYABLE))
    if not deps.policy.retention_s:
        return None
    before = now - timedelta(seconds=deps.policy.retention_s)
    found = deps.store.read(lambda tx: tx.attempts.old(before, after, BATCH))
    if not found:
        return None
    deps.store.write(lambda tx: _empty(tx, found, now))
    deps.bus.notify("events")
    last = found[-1]
    return After(last.ended_at or before, last.id)


def _empty(tx: Tx, found: Sequence[Attempt], now: datetime) -> None:
    needed = _needed(tx, sorted({one.account_id for one in found}))
    for one in found:
        files = [
            a
            for a in tx.files.artifacts(one.job_id)
            if a.attempt_id == one.id and not a.pinned and not needed & {a.id, a.job_id}
        ]
        for artifact in files:
            tx.files.delete_artifact(artifact.id)
        if tx.streams.forget(one.id) or files:
            data = {"attempt": one.number}
            tx.events.append(Event("job.expired", one.account_id, now, one.job_id, one.id, data))


def _needed(tx: Tx, account_ids: Sequence[str]) -> set[str]:
    """Return the artifacts and Jobs that Jobs which have not ended begin from."""
    out: set[str] = set()
    for job in tx.jobs.built_on_others(account_ids):
        out.update(item.ref for item in job.spec.inputs if item.source == "artifact")
        out.update([job.retry_of] if job.retry_of else [])
    return out
