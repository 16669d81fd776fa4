"""Where a Job stands in the queue, and when it would start."""

from __future__ import annotations

from trainshed.domain import outlook as rules
from trainshed.domain.job import Job
from trainshed.domain.outlook import Outlook
from trainshed.domain.preemption import victims
from trainshed.domain.states import Intent, JobState
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.capacity import PER_LANE, Snapshot, candidate_of, offers_of, snapshot


def queue_outlook(deps: Deps, job: Job) -> Outlook:
    """Return the place of a Job that waits (or of a draft, as if it were submitted now) and its
    estimated start. Nobody knows when a bench that is taken will be free.

    Behind more than ``PER_LANE`` Jobs of its own kind the position is by priority and age
    alone, and the start is not known.
    """
    now, offers = deps.clock.utc_now(), offers_of(deps)
    if job.state is not JobState.QUEUED or job.intent is not Intent.RUN:
        return Outlook(0, None)

    def load(tx: Tx) -> tuple[Snapshot, bool, int]:
        live = job.n_attempts > 0 and tx.attempts.live_of(job.id) is not None
        return snapshot(deps, offers, now, {}, deep=True)(tx), live, tx.jobs.n_ahead(job)

    seen, live, ahead = deps.store.read(load)
    if live:
        return Outlook(0, None)
    me = candidate_of(job)
    waiting = [c for c in seen.candidates if c.job_id != job.id]
    mine = (me.account_id, me.priority, me.resources)
    alike = [c for c in waiting if (c.account_id, c.priority, c.resources) == mine]
    if len(waiting) == len(seen.candidates) and len(alike) >= PER_LANE:
        return Outlook(ahead + 1, None)
    waiting.append(me)
    able = victims(seen.running, now, deps.policy.preempt_min_run_s, deps.policy.preemption)
    at = rules.position(job.id, waiting, seen.usage, seen.weights, now)
    if seen.bench_room.get(me.bench, 1) <= 0:
        return Outlook(at, None)
    starts_at = rules.starts_at(
        job.id, waiting, offers, seen.uses, {p.name: p for p in deps.pools}, seen.usage,
        seen.weights, now, deps.policy.cpu_fallback, seen.drained, able,
    )  # fmt: skip
    if job.not_before is not None and starts_at is not None:
        starts_at = max(starts_at, job.not_before)
    return Outlook(at, starts_at)
