"""What is for hire and what is taken, as placement sees it: always derived from live leases (law
5).
"""

from __future__ import annotations

from trainshed.domain.attempt import Attempt
from trainshed.domain.job import Job
from trainshed.domain.placement import Candidate, WaitReason, explain
from trainshed.domain.resources import Offer, Use
from trainshed.domain.states import Intent
from trainshed.ports.deps import Deps


def offers_of(deps: Deps) -> list[Offer]:
    """Return every offer of every executor."""
    return [offer for executor in deps.executors.values() for offer in executor.offers()]


def use_of(attempt: Attempt) -> Use:
    """Return what a live Attempt occupies."""
    return Use(attempt.offer_id, attempt.millicpus, attempt.memory_bytes, attempt.devices)


def candidate_of(job: Job) -> Candidate:
    """Return the Job as placement sees it."""
    return Candidate(
        job.id, job.account_id, job.spec.resources, job.pool,
        job.spec.priority, job.created_at, job.spec.max_runtime_s,
    )  # fmt: skip


def wait_reason(
    deps: Deps, job: Job, live: Attempt | None, all_live: list[Attempt], ahead: int
) -> WaitReason | None:
    """Return why the Job is not running, or None when it runs or has ended."""
    if job.terminal or job.intent is Intent.CANCEL:
        return None
    if live is not None:
        if live.started_at is not None:
            return None
        return WaitReason("starting", "Placed; its process is being started.", "")
    if job.intent is Intent.PAUSE:
        return WaitReason("paused", "Paused by request.", "Resume it.")
    if job.not_before is not None and job.not_before > deps.clock.utc_now():
        when = job.not_before.strftime("%Y-%m-%dT%H:%M:%SZ")
        return WaitReason("backoff", f"Runs again after {when}, following a failure.", "")
    most = deps.policy.max_workers
    if most is not None and len(all_live) >= most:
        words = f"The server runs {most} jobs at once, and all are taken."
        return WaitReason("no_capacity", words, "Wait, or let the operator raise max_workers.")
    uses = [use_of(a) for a in all_live]
    return explain(candidate_of(job), offers_of(deps), uses, ahead, deps.policy.cpu_fallback)
