"""Accept a Job: check, price, and in one transaction make the Job, its hold and its event (law
7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from trainshed.domain import pricing, waiting
from trainshed.domain.artifact import check_path
from trainshed.domain.bench import is_attached, measures_on
from trainshed.domain.errors import InvalidInput, NotFound, StorageFull
from trainshed.domain.events import Event
from trainshed.domain.job import Job, JobSpec, conclude
from trainshed.domain.people import Principal, Right
from trainshed.domain.resources import Offer, Pool
from trainshed.domain.states import JobState, Reason
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import JobView, PlanView
from trainshed.usecases import billing, environments
from trainshed.usecases.capacity import Crowd, crowd_of, explained, offers_of
from trainshed.usecases.outlook import queue_outlook

#: Variables that the platform sets itself in every job; a user may not override them.
RESERVED_ENV = frozenset({"CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH"})

#: The dialect under which Idempotency-Keys are bound to what they made.
ONCE = "idempotency"

FALLBACK_NOTE = (
    "No GPU on this machine: the job runs on its CPUs and is charged at the local-cpu price."
)


@dataclass(frozen=True, slots=True)
class SubmitJob:
    """What a dialect asks for. The values of ``env`` are secrets.

    ``once`` names an Idempotency-Key: the Job remembers it in the transaction that makes it, so
    that not even a crash before the answer can make a second one (G2).
    """

    principal: Principal
    name: str
    spec: JobSpec
    env: Mapping[str, str]
    dialect: str = "native"
    retry_of: str | None = None
    once: str | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    spec: JobSpec
    pool: Pool
    offers: list[Offer]


def plan(deps: Deps, command: SubmitJob) -> PlanView:
    """Return what submitting would mean, without making anything.

    Raises:
        InvalidInput, ImpossibleRequest, NotFound: as ``submit`` would.
    """
    checked = _check(deps, command)
    draft = _draft(deps, command, checked)
    want = checked.spec.resources

    def load(tx: Tx) -> tuple[int, Crowd]:
        _check_inputs(tx, draft)
        _must_have_a_bench(tx, draft)
        return tx.jobs.n_ahead(draft), crowd_of(tx, [draft], draft.created_at)

    ahead, crowd = deps.store.read(load)
    starts = explained(deps, draft, checked.offers, crowd, ahead)
    outlook = queue_outlook(deps, draft)
    fallback = want.gpus > 0 and not any(o.devices for o in checked.offers)
    hourly = pricing.hourly(checked.pool, want)
    hold = pricing.cost(checked.pool, want, checked.spec.max_runtime_s * 1000)
    notes = (FALLBACK_NOTE,) if fallback else ()
    return PlanView(checked.pool, hourly, hold, fallback, starts, outlook, notes)


def submit(deps: Deps, command: SubmitJob) -> JobView:
    """Accept the Job; it exists, paid for and queued, once this returns.

    Raises:
        InvalidInput: a field is wrong. ImpossibleRequest: no pool could ever run it.
        NotFound: an input is not the account's. PaymentRequired: not enough credits.
        StorageFull: the disk is nearly full.
    """
    ready = prepare(deps, command)
    job = ready.job

    def apply(tx: Tx) -> int | Job:
        known = _made_before(deps, tx, command, job.created_at)
        return make(tx, ready) if known is None else known

    held = deps.store.write(apply)
    if isinstance(held, Job):
        return JobView(held)
    deps.bus.notify("queue")
    deps.bus.notify("events")
    return JobView(job, held_ucredits=held, reserved_ucredits=held)


def refuse(deps: Deps, command: SubmitJob, reason: Reason, message: str) -> JobView:
    """Make a Job that has failed already and costs nothing, for dialects whose creation must not
    fail where its inputs are missing.

    Raises:
        InvalidInput, ImpossibleRequest, StorageFull: as ``submit`` would.
    """
    command.principal.need(Right.WRITE)
    checked = _check(deps, command)
    job = _draft(deps, command, checked)
    ended = conclude(job, JobState.FAILED, reason, message, job.created_at)
    data = {"attempt": 0, "reason": str(reason), "message": message}

    def apply(tx: Tx) -> Job:
        known = _made_before(deps, tx, command, job.created_at)
        if known is not None:
            return known
        tx.jobs.insert(job, None)
        if command.once is not None:
            tx.records.bind_public_id(ONCE, "job", command.once, job.id, job.account_id)
        tx.jobs.save(ended)
        for kind, about in (("job.queued", {}), ("job.failed", data)):
            tx.events.append(Event(kind, job.account_id, job.created_at, job.id, data=about))
        return ended

    made = deps.store.write(apply)
    deps.bus.notify("events")
    return JobView(made)


@dataclass(frozen=True, slots=True)
class Ready:
    """A Job that was checked, priced and drawn, but is not made yet."""

    job: Job
    pool: Pool
    sealed: bytes | None
    once: str | None
    stamp: billing.Stamp


def prepare(deps: Deps, command: SubmitJob) -> Ready:
    """Return the Job to be made, with all that must not happen inside a transaction.

    Raises:
        InvalidInput, ImpossibleRequest, StorageFull, NotAllowed: as ``submit`` would.
    """
    command.principal.need(Right.WRITE)
    if deps.blobs.free_bytes() < deps.policy.min_free_bytes:
        raise StorageFull("The server's disk is nearly full; free some space and try again.")
    checked = _check(deps, command)
    job = _draft(deps, command, checked)
    stamp = billing.new_stamp(deps, job.created_at)
    return Ready(job, checked.pool, sealed_env(deps, command.env), command.once, stamp)


def make(tx: Tx, ready: Ready) -> int:
    """Make Job, hold and event in the caller's transaction; return what was reserved.

    Raises:
        NotFound: an input is not the account's. PaymentRequired: not enough credits.
        InvalidInput: it measures on a board of which no bench is attached.
    """
    job = ready.job
    _check_inputs(tx, job)
    _must_have_a_bench(tx, job)
    tx.jobs.insert(job, ready.sealed)
    if ready.once is not None:
        tx.records.bind_public_id(ONCE, "job", ready.once, job.id, job.account_id)
    hold = billing.reserve(tx, job, (), ready.pool, ready.stamp)
    tx.events.append(Event("job.queued", job.account_id, job.created_at, job.id))
    return hold.amount


def _must_have_a_bench(tx: Tx, job: Job) -> None:
    """Refuse what could only fail, and would be free each time."""
    board = measures_on(job)
    if board and not is_attached(tx.benches.all(), board, job.created_at):
        raise InvalidInput(
            f"No bench of {board} is attached now: leave bench out to have it emulated.",
            field="params.bench",
        )


def check(deps: Deps, command: SubmitJob) -> JobSpec:
    """Return the spec as a Job would have it, without making anything.

    Raises:
        InvalidInput, ImpossibleRequest: as ``submit`` would.
    """
    return _check(deps, command).spec


def sealed_env(deps: Deps, env: Mapping[str, str]) -> bytes | None:
    """Return the variables as they are kept; None for none."""
    return deps.secrets.seal(msgspec.json.encode(dict(env))) if env else None


def opened_env(deps: Deps, sealed: bytes | None) -> dict[str, str]:
    """Return what ``sealed_env`` was given."""
    return msgspec.json.decode(deps.secrets.unseal(sealed), type=dict[str, str]) if sealed else {}


def _made_before(deps: Deps, tx: Tx, command: SubmitJob, now: datetime) -> Job | None:
    """Return the Job that this Idempotency-Key made, if its answer never reached the client."""
    found = command.once and tx.records.object_id(ONCE, "job", command.once)
    if not found:
        return None
    try:
        known = tx.jobs.get(found, command.principal.account_id)
    except NotFound:
        return None  # deleted since: the key is free again once its answer is forgotten
    young = now - known.created_at < timedelta(seconds=deps.policy.idempotency_ttl_s)
    return known if young else None


def _check(deps: Deps, command: SubmitJob) -> _Checked:
    spec = command.spec
    workload = deps.workloads.get(spec.workload)
    if workload is None:
        known = ", ".join(sorted(deps.workloads))
        raise InvalidInput(
            f"There is no workload {spec.workload!r}; there is: {known}.", field="workload"
        )
    planned = workload.plan(spec)
    if planned.closed and command.env:
        raise InvalidInput(f"The {spec.workload} workload takes no variables.", field="env")
    spec = planned.spec
    spec = replace(
        spec,
        resources=billing.known_type(deps.pools, spec.resources),
        environment=environments.settle(deps, command.principal, spec.environment),
    )
    spec = replace(spec, env_names=tuple(sorted(command.env)))
    spec.check()
    _check_env(command.env)
    _check_name(command.name)
    _check_volume(spec.checkpoint_path)
    _check_paths(spec)
    pool = billing.asked_pool(deps.pools, spec.resources, planned.pool)
    offers = offers_of(deps)
    pools = {p.name: p for p in deps.pools}
    waiting.check_possible(spec.resources, offers, pools, deps.policy.cpu_fallback)
    return _Checked(spec, pool, offers)


def _check_paths(spec: JobSpec) -> None:
    seen: set[str] = set()
    for item in spec.inputs:
        if check_path(item.path, "inputs.path") in seen:
            raise InvalidInput(f"Two inputs have the path {item.path!r}.", field="inputs.path")
        seen.add(item.path)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 200 or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise InvalidInput(
            "name must be 1 to 200 characters without control characters.", field="name"
        )


def _check_env(env: Mapping[str, str]) -> None:
    for name, value in env.items():
        plain = name.isascii() and name.isidentifier()
        if not plain or "\0" in value:
            raise InvalidInput(
                "env names must be letters, digits and '_', not starting with a digit;"
                " values may not hold NUL.",
                field="env",
            )
        if name in RESERVED_ENV or name.startswith("TRAINSHED_"):
            raise InvalidInput(f"{name} is set by the platform and cannot be given.", field="env")


def _check_volume(path: str) -> None:
    plain = len(path) <= 1024 and path.isprintable()
    if not plain or ".." in path.split("/") or (path and not path.strip("/.")):
        raise InvalidInput(
            "checkpoint_path must be a path such as /checkpoints/resnet50, without '..'.",
            field="checkpoint_path",
        )


def _check_inputs(tx: Tx, job: Job) -> None:
    for item in job.spec.inputs:
        if item.source == "upload":
            if tx.files.get_upload(item.ref, job.account_id).completed_at is None:
                raise InvalidInput(
                    f"Upload {item.ref} has no content yet: PUT its bytes to its url first.",
                    field="inputs.ref",
                )
        elif item.source == "artifact":
            tx.files.get_artifact(item.ref, job.account_id)
        else:
            raise InvalidInput(
                f"There is no input source {item.source!r}; use upload or artifact.",
                field="inputs.source",
            )


def _draft(deps: Deps, command: SubmitJob, checked: _Checked) -> Job:
    who = command.principal
    return Job(
        id=deps.ids.new("job"),
        account_id=who.account_id,
        user_id=who.user_id,
        dialect=command.dialect,
        name=command.name,
        spec=checked.spec,
        pool=checked.pool.name,
        created_at=deps.clock.utc_now(),
        retry_of=command.retry_of,
        key_id=who.key_id,
    )
