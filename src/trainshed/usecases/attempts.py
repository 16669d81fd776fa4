"""What a runner reports of its Attempt: assignment, start, renewal, collection, end; all by token
(law 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from trainshed.domain import attempt as rules
from trainshed.domain.artifact import Artifact, ArtifactKind, FileRef, check_path
from trainshed.domain.attempt import Attempt, Ending, Start
from trainshed.domain.bench import measures_on
from trainshed.domain.errors import InvalidInput, NotAuthenticated, StaleLease
from trainshed.domain.events import Event
from trainshed.domain.image import Login
from trainshed.domain.job import Job, derived
from trainshed.domain.states import AttemptState, JobState, Reason, check_attempt
from trainshed.ports.crash import crashpoint, register
from trainshed.ports.store import Tx
from trainshed.usecases import billing, registries
from trainshed.usecases.engine import Engine

register("attempts.after_finish")


@dataclass(frozen=True, slots=True)
class Work:
    """What an Attempt is to run: rows only; blobs are opened by the door. ``image_digest``: that
    of an earlier Attempt. ``login``: for the registry of the Job's image.
    ``cache``: the name of a folder that the account's Jobs share, or "". ``bench``: it measures.
    """

    attempt: Attempt
    job: Job
    sealed_env: bytes | None
    inputs: tuple[tuple[str, FileRef, bool], ...]
    resume: Artifact | None
    remaining_ms: int
    n_people: int
    resuming: bool = False
    image_digest: str | None = None
    login: Login | None = None
    cache: str = ""
    bench: bool = False


def authenticate(engine: Engine, attempt_id: str, token: str) -> None:
    """Check a runner's token.

    Raises:
        NotAuthenticated: it is not this Attempt's. StaleLease: the Attempt is no longer live.
    """
    held = engine.leases.get(attempt_id)
    if held is not None:
        if not engine.deps.secrets.matches(token, held.runner_hash):
            raise NotAuthenticated("This is not the token of that attempt.")
        return
    attempt = engine.deps.store.read(lambda tx: tx.attempts.get(attempt_id))
    if not engine.deps.secrets.matches(token, attempt.runner_token_hash):
        raise NotAuthenticated("This is not the token of that attempt.")


def live(tx: Tx, attempt_id: str) -> Attempt:
    """Return the Attempt if it still holds its lease.

    Raises:
        StaleLease: it has ended.
    """
    attempt = tx.attempts.get(attempt_id)
    if not attempt.live:
        raise StaleLease("This attempt has ended; this result was dropped.")
    return attempt


def beginning(engine: Engine, attempt_id: str) -> Callable[[Tx], Work]:
    """Return the transaction that moves to STARTING and loads the work; asking twice is fine."""
    now = engine.deps.clock.utc_now()
    engine.renew(attempt_id)

    def apply(tx: Tx) -> Work:
        attempt = live(tx, attempt_id)
        job = tx.jobs.get(attempt.job_id)
        earlier = tx.attempts.of_job(job.id) if attempt.number > 1 else [attempt]
        again = attempt.number > 1 or job.retry_of is not None
        resume = _resume_point(tx, job) if again else None
        resume = resume or _volume(tx, job)
        if attempt.state is AttemptState.LEASED:
            attempt = replace(
                attempt,
                state=AttemptState.STARTING,
                resumed_from=resume.id if resume else None,
                resumed_step=resume.step if resume and again else None,
            )
            _save(tx, attempt)
            if resume is not None:
                data = {"attempt": attempt.number, "artifact_id": resume.id, "step": resume.step}
                tx.events.append(
                    Event("job.resuming", job.account_id, now, job.id, attempt_id, data)
                )
        return Work(
            attempt=attempt,
            job=job,
            sealed_env=tx.jobs.env(job.id) if job.spec.env_names else None,
            inputs=_inputs(tx, job),
            resume=resume,
            remaining_ms=billing.remaining_ms(job, earlier),
            n_people=tx.people.n_people(),
            resuming=again and resume is not None,
            image_digest=next((a.image_digest for a in earlier if a.image_digest), None),
            login=registries.login_of(tx, job),
            cache=_cache_of(engine, job),
            bench=bool(measures_on(job)),
        )

    return apply


def _cache_of(engine: Engine, job: Job) -> str:
    workload = engine.deps.workloads.get(job.spec.workload)
    try:
        planned = workload.plan(job.spec) if workload is not None else None
    except InvalidInput:  # planned by another version; what runs will say what is wrong
        return ""
    return planned.cache if planned is not None and planned.closed else ""


def files_of(engine: Engine, attempt_id: str, resume: bool) -> tuple[str, list[FileRef]]:
    """Return the account and the files of an Attempt's inputs (or of what it resumes from)."""

    def load(tx: Tx) -> tuple[str, list[FileRef]]:
        attempt = live(tx, attempt_id)
        if resume:
            found = attempt.resumed_from
            files = tx.files.get_artifact(found, attempt.account_id).files if found else ()
            return attempt.account_id, list(files)
        return attempt.account_id, [f for _, f, _ in _inputs(tx, tx.jobs.get(attempt.job_id))]

    return engine.deps.store.read(load)


def started(engine: Engine, attempt_id: str, start: Start) -> Callable[[Tx], str | None]:
    """Return the transaction that notes that the user's process runs; it returns the open order."""
    now = engine.deps.clock.utc_now()
    engine.renew(attempt_id)

    def apply(tx: Tx) -> str | None:
        attempt = live(tx, attempt_id)
        if attempt.state in (AttemptState.RUNNING, AttemptState.CHECKPOINTING):
            return attempt.order
        running, job = _running(tx, attempt, tx.jobs.get(attempt.job_id), start, now)
        _save(tx, running)
        tx.jobs.save(job)
        return attempt.order

    return apply


def _running(
    tx: Tx, attempt: Attempt, job: Job, start: Start, now: datetime
) -> tuple[Attempt, Job]:
    """Tell of the start; return both as they are from then on, for the caller to save."""
    running = rules.started(attempt, start, now)
    first = replace(job, started_at=job.started_at or running.started_at)
    data = {"attempt": attempt.number, "isolation": start.isolation}
    tx.events.append(Event("job.running", job.account_id, now, job.id, attempt.id, data))
    return running, derived(first, AttemptState.RUNNING)


def checkpointing(engine: Engine, attempt_id: str, active: bool) -> Callable[[Tx], str | None]:
    """Return the transaction that notes that a snapshot begins or is over; it returns the open
    order. Saying it twice is fine.
    """
    now = engine.deps.clock.utc_now()
    wanted = AttemptState.CHECKPOINTING if active else AttemptState.RUNNING
    engine.renew(attempt_id)

    def apply(tx: Tx) -> str | None:
        attempt = live(tx, attempt_id)
        running = attempt.state in (AttemptState.RUNNING, AttemptState.CHECKPOINTING)
        if running and attempt.state is not wanted:
            _save(tx, replace(attempt, state=check_attempt(attempt.state, wanted)))
            if active:
                ids = (attempt.job_id, attempt_id)
                tx.events.append(Event("attempt.checkpointing", attempt.account_id, now, *ids))
        return attempt.order

    return apply


def collect(engine: Engine, attempt_id: str, draft: Artifact, runtime_ms: int) -> Artifact:
    """Commit a whole set of files, whose blobs are all there; the same set twice lands once.

    Raises:
        InvalidInput: a hostile path, or a blob that was never sent. StaleLease: the lease is gone.
    """
    deps = engine.deps
    now = deps.clock.utc_now()
    if len(draft.files) > deps.policy.max_files:
        raise InvalidInput(f"More than {deps.policy.max_files} files.", field="files")
    account = deps.store.read(lambda tx: live(tx, attempt_id).account_id)
    for one in draft.files:
        check_path(one.path, "files.path")
        if not deps.blobs.exists(account, one.blob.md5):
            raise InvalidInput(f"The content of {one.path!r} was not sent.", field="files")
    digest = deps.blobs.put_dir(account, [(f.path, f.blob.md5) for f in draft.files])
    named = replace(draft, account_id=account, digest=digest, created_at=now)
    made = deps.store.write(lambda tx: _commit(tx, named, attempt_id, runtime_ms, engine))
    deps.bus.notify("events")
    return made


def finish(engine: Engine, attempt_id: str, ending: Ending) -> Job:
    """Write the end, once: Attempt, Job, money and events in one transaction.

    A repeated ``finished`` of an Attempt that has ended answers the Job as it is (G11).
    """
    job = engine.deps.store.write(finishing(engine, attempt_id, ending))
    finished(engine, attempt_id)
    return job


def finishing(engine: Engine, attempt_id: str, ending: Ending) -> Callable[[Tx], Job]:
    """Return the transaction of ``finish``; call ``finished`` after it."""
    deps = engine.deps
    now = deps.clock.utc_now()
    stamp = billing.new_stamp(deps, now)

    def apply(tx: Tx) -> Job:
        attempt = tx.attempts.get(attempt_id)
        job = tx.jobs.get(attempt.job_id)
        if not attempt.live:
            return job
        if ending.start is not None and attempt.state is AttemptState.STARTING:
            attempt, job = _running(tx, attempt, job, ending.start, now)
        done = rules.ended(attempt, job.intent, ending, now)
        _save(tx, done)
        earlier = tx.attempts.of_job(job.id)[:-1] if attempt.number > 1 else []
        every = [*earlier, done]
        billing.settle(tx, job, every, engine.pools, stamp)
        after = rules.job_after(job, done, now)
        tx.jobs.save(after)
        if after.state is JobState.QUEUED:
            billing.reserve(tx, after, every, engine.pools[after.pool], stamp)
        for event in _end_events(after, done, now):
            tx.events.append(event)
        return after

    return apply


def finished(engine: Engine, attempt_id: str) -> None:
    """Drop the lease and wake the queue, after the end is durable."""
    crashpoint("attempts.after_finish")
    engine.leases.drop(attempt_id)
    for topic in ("queue", "events", f"stream:{attempt_id}"):
        engine.deps.bus.notify(topic)


_KINDS = {
    JobState.SUCCEEDED: "job.succeeded",
    JobState.FAILED: "job.failed",
    JobState.CANCELLED: "job.cancelled",
    JobState.PAUSED: "job.paused",
}


_AGAIN = {
    AttemptState.FAILED: "job.retrying",
    AttemptState.LOST: "job.requeued",
    AttemptState.EVICTED: "job.evicted",
}
_EVICTIONS = frozenset({Reason.PREEMPTED, Reason.DRAINED})


def _end_events(job: Job, attempt: Attempt, now: datetime) -> list[Event]:
    """What became of the Job, after the eviction that ended it, if it was that."""
    kind = _KINDS.get(job.state) or _AGAIN[attempt.state]
    data = {
        "attempt": attempt.number,
        "attempt_state": str(attempt.state),
        "reason": str(attempt.reason or Reason.LOST),
        "exit_code": attempt.exit_code,
        "message": attempt.message,
    }
    evicted = attempt.state is AttemptState.EVICTED and attempt.reason in _EVICTIONS
    kinds = ["job.evicted", kind] if evicted and kind != "job.evicted" else [kind]
    return [Event(k, job.account_id, now, job.id, attempt.id, data) for k in kinds]


def delivered(attempt_id: str) -> Callable[[Tx], None]:
    """Return the transaction that clears a checkpoint order: unlike a stop, it is given once."""

    def apply(tx: Tx) -> None:
        attempt = live(tx, attempt_id)
        if attempt.order == "checkpoint":
            _save(tx, replace(attempt, order=None))

    return apply


def _commit(tx: Tx, named: Artifact, attempt_id: str, runtime_ms: int, engine: Engine) -> Artifact:
    attempt = live(tx, attempt_id)
    artifact = replace(named, job_id=attempt.job_id, attempt_id=attempt_id)
    same = [
        a
        for a in tx.files.artifacts(attempt.job_id, artifact.kind)
        if a.digest == artifact.digest and a.attempt_id == attempt_id
    ]
    checkpoint = artifact.kind is ArtifactKind.CHECKPOINT
    if same:
        return same[0]
    if checkpoint:
        covered = max(attempt.checkpoint_ms, runtime_ms)
        _save(tx, replace(attempt, checkpoint_ms=covered))
    tx.files.insert_artifact(artifact)
    if checkpoint:
        path = tx.jobs.get(attempt.job_id).spec.checkpoint_path
        if path:
            tx.schedules.set_volume(attempt.account_id, path, artifact.id, named.created_at)
        _prune(tx, attempt.job_id, engine.deps.policy.keep_checkpoints)
    kind = "attempt.checkpoint" if checkpoint else "attempt.artifacts"
    data = {"artifact_id": artifact.id, "step": artifact.step, "size_bytes": artifact.size_bytes}
    tx.events.append(
        Event(kind, attempt.account_id, named.created_at, attempt.job_id, attempt_id, data)
    )
    return artifact


def _prune(tx: Tx, job_id: str, keep: int) -> None:
    """Keep the last ``keep`` checkpoints and every pinned one (D14); blobs are swept by gc."""
    loose = [a for a in tx.files.artifacts(job_id, ArtifactKind.CHECKPOINT) if not a.pinned]
    for old in loose[:-keep]:
        tx.files.delete_artifact(old.id)


def _resume_point(tx: Tx, job: Job) -> Artifact | None:
    found = tx.files.artifacts(job.id, ArtifactKind.CHECKPOINT)
    if not found and job.retry_of is not None:
        found = tx.files.artifacts(job.retry_of, ArtifactKind.CHECKPOINT)
    return found[-1] if found else None


def _volume(tx: Tx, job: Job) -> Artifact | None:
    """Return what the Job's volume holds (D8)."""
    path = job.spec.checkpoint_path
    held = tx.schedules.volume(job.account_id, path) if path else None
    return tx.files.get_artifact(held, job.account_id) if held else None


def _inputs(tx: Tx, job: Job) -> tuple[tuple[str, FileRef, bool], ...]:
    out: list[tuple[str, FileRef, bool]] = []
    for item in job.spec.inputs:
        if item.source == "upload":
            upload = tx.files.get_upload(item.ref, job.account_id)
            if upload.blob is None:
                raise InvalidInput(f"Upload {item.ref} has no content.", field="inputs.ref")
            out.append((item.path, FileRef(item.path, upload.blob), item.unpack))
            continue
        artifact = tx.files.get_artifact(item.ref, job.account_id)
        out.extend((f"{item.path}/{f.path}", f, False) for f in artifact.files)
    return tuple(out)


def _save(tx: Tx, attempt: Attempt) -> None:
    if not tx.attempts.save_if_held(attempt):
        raise StaleLease("A newer lease exists for this attempt; this result was dropped.")
