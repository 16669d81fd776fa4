"""What nobody asks for but everyone expects: old workspaces, old answers, old logs, unused
blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import NotFound
from trainshed.ports.deps import Deps
from trainshed.ports.executor import Cleans, KeepsCaches, KeepsEnvironments
from trainshed.ports.store import Tx
from trainshed.ports.streams import LOG_STREAMS
from trainshed.usecases import benches, firing, grants, logs, submit
from trainshed.usecases.engine import Engine

#: A runner that has called ``finished`` needs a moment to leave its workspace.
LEAVE = timedelta(seconds=2)
GRACE = timedelta(hours=24)
#: How long a delivery that arrived is listed.
LISTED = timedelta(days=30)
#: So many deliveries of one subscription are dropped in one transaction.
TRIM = 5000


@dataclass(frozen=True, slots=True)
class Swept:
    """What ``collect_garbage`` removed."""

    blobs: int
    bytes_freed: int


def tidy(engine: Engine) -> None:
    """Seal the long logs of live and just ended Attempts, remove the workspaces of ended ones, and
    renew the plans that are due.
    """
    deps = engine.deps
    now = deps.clock.utc_now()
    trim_environments(deps)
    grants.renew(deps)
    benches.tidy(deps)
    for executor in deps.executors.values():
        if not isinstance(executor, Cleans):
            continue
        for attempt_id in executor.workspaces():
            attempt = _find(deps, attempt_id)
            if attempt is not None:
                _seal(deps, attempt)
            if attempt is None or _gone(attempt, now):
                executor.clean(attempt_id)
    deps.store.write(lambda tx: _purge(tx, deps, now))
    while deps.store.write(lambda tx: tx.deliveries.trim(deps.policy.max_backlog, TRIM)):
        pass


def _purge(tx: Tx, deps: Deps, now: datetime) -> None:
    """Drop answers, deliveries and fires that are old enough."""
    answers = tx.records.purge_remembered(now - _ttl(deps))
    tx.records.unbind_public_ids(submit.ONCE, "job", [one.once for one in answers])
    tx.deliveries.purge(now - LISTED)
    tx.schedules.purge_fires(now - firing.KEEP_FIRES)


def trim_environments(deps: Deps) -> None:
    """Keep built environments and workloads' caches below their limits."""
    for executor in deps.executors.values():
        if isinstance(executor, KeepsEnvironments):
            executor.trim_environments(deps.policy.environments.max_bytes)
        if isinstance(executor, KeepsCaches):
            executor.trim_caches(deps.policy.max_cache_bytes)


def collect_garbage(deps: Deps, grace: timedelta = GRACE) -> Swept:
    """Delete blobs that nothing refers to and that are older than ``grace`` (mark and sweep,
    D14).
    """
    blobs = freed = 0
    oldest = (deps.clock.utc_now() - grace).timestamp()
    for account in deps.store.read(lambda tx: tx.people.accounts()):
        listing = [b for b in deps.blobs.listing(account.id) if b[2] <= oldest]
        marked = _marked(deps, account.id)
        for md5, size, _ in listing:
            if md5 not in marked:
                deps.blobs.delete(account.id, md5)
                blobs, freed = blobs + 1, freed + size
    return Swept(blobs, freed)


def _marked(deps: Deps, account_id: str) -> set[str]:
    return deps.store.read(lambda tx: tx.files.blob_refs(account_id))


def _find(deps: Deps, attempt_id: str) -> Attempt | None:
    try:
        return deps.store.read(lambda tx: tx.attempts.get(attempt_id))
    except NotFound:
        return None


def _gone(attempt: Attempt, now: datetime) -> bool:
    return attempt.ended_at is not None and now - attempt.ended_at > LEAVE


def _seal(deps: Deps, attempt: Attempt) -> None:
    """Seal what is over 4 MiB; of an ended Attempt everything, if it is more than a little."""
    keep = logs.SEAL_AT if attempt.live else logs.SMALL
    for stream in LOG_STREAMS:
        logs.seal(deps, attempt.account_id, attempt.id, stream, keep)


def _ttl(deps: Deps) -> timedelta:
    return timedelta(seconds=deps.policy.idempotency_ttl_s)
