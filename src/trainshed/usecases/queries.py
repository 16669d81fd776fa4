"""What an owner may look at. Another account's object is NotFound, always by the same words."""

from __future__ import annotations

from dataclasses import replace

from trainshed.domain.artifact import Artifact, ArtifactKind
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import IllegalTransition, NotFound
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.people import Principal, Right
from trainshed.domain.receipt import Receipt, receipt_of
from trainshed.domain.resources import free_of
from trainshed.ports.deps import Deps
from trainshed.ports.store import After, JobFilter, Tx
from trainshed.ports.views import JobView, OfferView
from trainshed.usecases.capacity import offers_of, use_of, wait_reason


def owned(tx: Tx, principal: Principal, job_id: str) -> Job:
    """Return the caller's Job; a job token reaches its own Job only.

    Raises:
        NotFound: absent, deleted, or not the caller's.
    """
    if principal.job_id is not None and principal.job_id != job_id:
        raise NotFound("There is no job with that id.")
    return tx.jobs.get(job_id, principal.account_id)


def get_job(deps: Deps, principal: Principal, job_id: str) -> JobView:
    """Return one Job with its Attempts, money, newest metrics and wait reason."""

    def load(tx: Tx) -> tuple[Job, list[Attempt], JobView, list[Attempt], int]:
        job = owned(tx, principal, job_id)
        attempts = tx.attempts.of_job(job_id)
        newest = [attempts[-1].id] if attempts else []
        latest = tx.streams.latest(newest)
        hold = tx.ledger.open_hold(job_id)
        view = JobView(
            job,
            tuple(attempts),
            latest=latest.get(newest[0], {}) if newest else {},
            held_ucredits=hold.amount if hold else 0,
            captured_ucredits=tx.ledger.captured(job_id),
        )
        waiting = not job.terminal and not (attempts and attempts[-1].live)
        live = tx.attempts.live() if waiting else []
        return job, attempts, view, live, tx.jobs.n_ahead(job) if waiting else 0

    job, attempts, view, all_live, ahead = deps.store.read(load)
    live = attempts[-1] if attempts and attempts[-1].live else None
    return replace(view, wait=wait_reason(deps, job, live, all_live, ahead))


def list_jobs(
    deps: Deps, principal: Principal, where: JobFilter, after: After | None, limit: int
) -> list[JobView]:
    """Return a page, newest first. Wait reasons in lists do not count who is ahead."""

    def load(tx: Tx) -> tuple[list[Job], dict[str, list[Attempt]], list[Attempt]]:
        if principal.job_id is not None:
            jobs = [tx.jobs.get(principal.job_id, principal.account_id)]
        else:
            mine = replace(where, account_id=principal.account_id)
            jobs = tx.jobs.page(mine, after, limit)
        begun = [j.id for j in jobs if j.n_attempts]
        waiting = any(not j.terminal for j in jobs)
        return jobs, tx.attempts.of_jobs(begun), tx.attempts.live() if waiting else []

    jobs, attempts, live = deps.store.read(load)
    by_job = {a.job_id: a for a in live}
    return [
        JobView(
            job,
            tuple(attempts.get(job.id, ())),
            wait=wait_reason(deps, job, by_job.get(job.id), live, 0),
        )
        for job in jobs
    ]


def attempts(deps: Deps, principal: Principal, job_id: str) -> list[Attempt]:
    """Return the Job's Attempts by number."""

    def load(tx: Tx) -> list[Attempt]:
        owned(tx, principal, job_id)
        return tx.attempts.of_job(job_id)

    return deps.store.read(load)


def events(
    deps: Deps, principal: Principal, after_seq: int, limit: int, job_id: str | None = None
) -> list[Event]:
    """Return the account's (or one Job's) events after a cursor, oldest first."""

    def load(tx: Tx) -> list[Event]:
        only = job_id or principal.job_id
        if only is not None:
            owned(tx, principal, only)
        return tx.events.page(after_seq, limit, principal.account_id, only)

    return deps.store.read(load)


def receipt(deps: Deps, principal: Principal, job_id: str) -> Receipt:
    """Return the receipt of an ended Job.

    Raises:
        IllegalTransition: it has not ended.
    """

    def load(tx: Tx) -> Receipt:
        job = owned(tx, principal, job_id)
        if not job.terminal:
            raise IllegalTransition(f"There is no receipt yet: the job is {job.state}.")
        tried, holds = tx.attempts.of_job(job_id), tx.ledger.holds_of(job_id)
        return receipt_of(job, tried, holds, {p.name: p for p in deps.pools})

    return deps.store.read(load)


def artifacts(
    deps: Deps, principal: Principal, job_id: str, kind: ArtifactKind | None = None
) -> list[Artifact]:
    """Return the Job's committed artifacts and checkpoints, oldest first."""

    def load(tx: Tx) -> list[Artifact]:
        owned(tx, principal, job_id)
        return tx.files.artifacts(job_id, kind)

    return deps.store.read(load)


def pin(deps: Deps, principal: Principal, job_id: str, artifact_id: str, pinned: bool) -> Artifact:
    """Keep (or stop keeping) a checkpoint beyond the last few."""

    def apply(tx: Tx) -> Artifact:
        owned(tx, principal, job_id)
        principal.need(Right.WRITE)
        found = tx.files.get_artifact(artifact_id, principal.account_id)
        if found.job_id != job_id:
            raise NotFound("There is no such checkpoint of that job.")
        changed = replace(found, pinned=pinned)
        tx.files.save_artifact(changed)
        return changed

    return deps.store.write(apply)


def offers(deps: Deps) -> list[OfferView]:
    """Return every offer with what is free of it."""
    uses = [use_of(a) for a in deps.store.read(lambda tx: tx.attempts.live())]
    pools = {p.name: p for p in deps.pools}
    default = next(iter(pools.values()))
    return [
        OfferView(free_of(offer, uses), pools.get(offer.pool, default)) for offer in offers_of(deps)
    ]


def company_notes(deps: Deps) -> tuple[str, ...]:
    """Return what changed for jobs because a second person has just come, in sentences."""
    if deps.store.read(lambda tx: tx.people.n_people()) != 2:
        return ()
    notes = []
    if deps.policy.loopback_only:
        notes.append(
            "Two people share this server now: jobs that start from now on get no network."
        )
    if deps.policy.require_isolation:
        notes.append("Jobs that cannot be isolated from each other at all are refused from now on.")
    return tuple(notes)
