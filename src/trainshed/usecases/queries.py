"""What an owner may look at. Another account's object is NotFound, always by the same words."""

from __future__ import annotations

from dataclasses import replace

from trainshed.domain.artifact import Artifact, ArtifactKind
from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import Conflict, IllegalTransition, NotFound
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.ledger import Entry, HoldState, Unit
from trainshed.domain.people import Principal, Right
from trainshed.domain.receipt import Receipt, receipt_of
from trainshed.domain.resources import free_of
from trainshed.domain.states import JobState
from trainshed.ports.deps import Deps
from trainshed.ports.paging import After
from trainshed.ports.store import JobFilter, Tx
from trainshed.ports.views import JobView, OfferView
from trainshed.usecases.capacity import Crowd, crowd_of, offers_of, use_of, wait_reason


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

    now = deps.clock.utc_now()

    def load(tx: Tx) -> tuple[JobView, Crowd, int]:
        job = owned(tx, principal, job_id)
        attempts = tx.attempts.of_job(job_id)
        view = _detailed(tx, JobView(job, tuple(attempts)))
        waiting = not job.terminal and not (attempts and attempts[-1].live)
        ahead = tx.jobs.n_ahead(job) if waiting else 0
        return view, crowd_of(tx, [job] if waiting else [], now), ahead

    view, crowd, ahead = deps.store.read(load)
    live = view.attempts[-1] if view.attempts and view.attempts[-1].live else None
    return replace(view, wait=wait_reason(deps, view.job, live, crowd, ahead))


def _detailed(tx: Tx, view: JobView) -> JobView:
    """Return the view with money, and the newest points of the last Attempt that logged any."""
    holds = tx.ledger.holds_of(view.job.id)
    latest = tx.streams.latest([a.id for a in view.attempts])
    logged = [latest[a.id] for a in view.attempts if latest.get(a.id)]
    return replace(
        view,
        latest=logged[-1] if logged else {},
        held_ucredits=sum(h.amount for h in holds if h.state is HoldState.OPEN),
        captured_ucredits=sum(h.captured for h in holds),
        reserved_ucredits=max((h.amount for h in holds), default=0),
    )


def find_job(deps: Deps, principal: Principal, id_prefix: str, dialect: str) -> str:
    """Return the id of the account's one Job of ``dialect`` whose id begins so.

    Raises:
        NotFound: there is none. Conflict: there are several.
    """
    where = JobFilter(account_id=principal.account_id, dialect=dialect)
    found = deps.store.read(lambda tx: tx.jobs.starting_with(id_prefix, where, 2))
    if not found:
        raise NotFound("There is no job with that id.")
    if len(found) > 1:
        raise Conflict("Several jobs have ids that begin so; write more of it.")
    return found[0]


def job_page(
    deps: Deps, principal: Principal, where: JobFilter, offset: int, limit: int
) -> tuple[list[JobView], int]:
    """Return a page by number, newest first, with money and newest metrics, and how many there
    are; no wait reasons.
    """
    mine = replace(where, account_id=principal.account_id)

    def load(tx: Tx) -> tuple[list[JobView], int]:
        jobs = tx.jobs.page(mine, None, limit, offset)
        tried = tx.attempts.of_jobs([j.id for j in jobs if j.n_attempts])
        views = [JobView(job, tuple(tried.get(job.id, ()))) for job in jobs]
        return [_detailed(tx, view) for view in views], tx.jobs.count(mine)

    return deps.store.read(load)


def queue_position(deps: Deps, job: Job) -> int:
    """Return the Job's place in the queue, 1 for the next; 0 once it waits no more."""
    if job.state is not JobState.QUEUED:
        return 0
    return deps.store.read(lambda tx: tx.jobs.n_ahead(job)) + 1


def list_jobs(
    deps: Deps, principal: Principal, where: JobFilter, after: After | None, limit: int
) -> list[JobView]:
    """Return a page, newest first. Wait reasons in lists do not count who is ahead."""

    now = deps.clock.utc_now()

    def load(tx: Tx) -> tuple[list[Job], dict[str, list[Attempt]], Crowd]:
        if principal.job_id is not None:
            jobs = [tx.jobs.get(principal.job_id, principal.account_id)]
        else:
            mine = replace(where, account_id=principal.account_id)
            jobs = tx.jobs.page(mine, after, limit)
        begun = [j.id for j in jobs if j.n_attempts]
        waiting = [j for j in jobs if not j.terminal]
        return jobs, tx.attempts.of_jobs(begun), crowd_of(tx, waiting, now)

    jobs, attempts, crowd = deps.store.read(load)
    by_job = {a.job_id: a for a in crowd.live}
    return [
        JobView(
            job,
            tuple(attempts.get(job.id, ())),
            wait=wait_reason(deps, job, by_job.get(job.id), crowd, 0),
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


def entries_from(
    deps: Deps, principal: Principal, unit: Unit, offset: int, limit: int
) -> tuple[list[tuple[int, int, Entry]], int]:
    """Return a page of one unit's entries by number, newest first, and how many there are."""

    def load(tx: Tx) -> tuple[list[tuple[int, int, Entry]], int]:
        mine = principal.account_id
        return tx.ledger.entries(mine, unit, None, limit, offset), tx.ledger.n_entries(mine, unit)

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
    """Return every offer with what is free of it, and since when it is drained."""
    live, drained = deps.store.read(lambda tx: (tx.attempts.live(), tx.records.drained()))
    uses = [use_of(a) for a in live]
    pools = {p.name: p for p in deps.pools}
    default = next(iter(pools.values()))
    return [
        OfferView(free_of(offer, uses), pools.get(offer.pool, default), drained.get(offer.id))
        for offer in offers_of(deps)
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
