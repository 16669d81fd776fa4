"""Requests: a model and a board in, figures out. Each is a Job of the workload ``board``."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from trainshed.domain.artifact import Artifact, ArtifactKind
from trainshed.domain.bench import is_attached
from trainshed.domain.errors import IllegalTransition, InvalidInput, NotFound
from trainshed.domain.job import InputRef, Job, JobSpec
from trainshed.domain.ledger import MICRO, Unit, open_hold
from trainshed.domain.people import Principal, Right
from trainshed.domain.states import Intent, JobState
from trainshed.ports.boards import Arrays
from trainshed.ports.deps import Deps
from trainshed.ports.paging import After
from trainshed.ports.store import JobFilter, Tx
from trainshed.usecases import boards, calibration, control, numbers, submit, uploads

WORKLOAD = "board"
KIND = "request"
MODEL = "model.tflite"
CALIBRATION = "calibration.npz"
#: The file in which a run says how it ended.
OUTCOME = "outcome.json"
MAX_OUTCOME_BYTES = 1024**2
#: How many requests a list shows, the newest ones.
LISTED = 500
REMEMBERED = 4096
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model for a board. ``filename`` is what its sender called it, and only shown;
    ``calibration``: an ``.npz`` for ``quantize``.
    """

    principal: Principal
    board: str
    filename: str
    model: bytes = field(repr=False)
    quantize: bool
    dialect: str
    calibration: bytes | None = field(default=None, repr=False)


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended, as the pipeline wrote it. ``fault``: None, ``model`` or ``platform``;
    ``result``: the figures, where it went well.
    """

    fault: str | None = None
    code: str = ""
    message: str = ""
    result: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request. ``live``: it has its place. ``outcome`` is None until it has ended, and where it
    ended without saying how.
    """

    number: int
    job: Job
    live: bool
    outcome: Outcome | None = None


class Outcomes:
    """What ended runs have said; an artifact never changes, so it is read once. Thread-safe."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[str, Outcome | None] = {}
        self._lock = threading.Lock()

    def of(self, deps: Deps, one: Artifact) -> Outcome | None:
        """Return what the artifact's outcome file says, None if that is nothing."""
        with self._lock:
            if one.id in self._known:
                return self._known[one.id]
        found = _read(deps, one)
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[one.id] = found
        return found


def create(deps: Deps, wanted: Wanted) -> RequestView:
    """Check the model, and in one transaction make the Job, its hold of a run and its number.

    Raises:
        InvalidInput: no such board, a model that cannot run there, or no calibration set; costs
            nothing.
        PaymentRequired: no run is left. Unavailable: the boards are offline.
    """
    principal = wanted.principal
    principal.need(Right.WRITE)
    board = boards.named(deps, wanted.board)
    boards.must_be_online(deps)
    _must_have_a_run(deps, principal)
    arrays = _arrays(wanted)
    boards.must_be_valid(
        boards.check(deps, principal, board.name, wanted.model, wanted.quantize, arrays)
    )  # fmt: skip
    taken: dict[str, str] = {}
    try:
        for name, data in ((MODEL, wanted.model), (CALIBRATION, wanted.calibration)):
            if data is not None:
                taken[name] = uploads.take(deps, principal, f"boards/{name}", io.BytesIO(data)).id
        made = _make(deps, wanted, taken)
    except BaseException:
        for upload_id in taken.values():
            uploads.delete(deps, principal, upload_id)
        raise
    deps.bus.notify("queue")
    deps.bus.notify("events")
    return made


def _arrays(wanted: Wanted) -> Arrays | None:
    """Return what the calibration set holds. Raises InvalidInput: it is none, or of no use."""
    if wanted.calibration is None:
        return None
    if not wanted.quantize:
        raise InvalidInput(
            "A calibration set is of use with quantize only; leave it out.", field="calibration"
        )
    return calibration.arrays_of(wanted.calibration)


def _make(deps: Deps, wanted: Wanted, taken: Mapping[str, str]) -> RequestView:
    """``taken``: the name of each input -> its upload."""
    spec = JobSpec(
        workload=WORKLOAD,
        params=_params(deps, wanted),
        inputs=tuple(InputRef("upload", upload_id, name) for name, upload_id in taken.items()),
    )
    name = plain_name(wanted.filename)
    command = submit.SubmitJob(wanted.principal, name, spec, {}, wanted.dialect)
    ready = submit.prepare(deps, command)
    job = ready.job

    def apply(tx: Tx) -> int:
        submit.make(tx, ready)
        return numbers.draw(tx, wanted.dialect, KIND, job.id, job.account_id)

    return RequestView(deps.store.write(apply), job, False)


def _params(deps: Deps, wanted: Wanted) -> dict[str, object]:
    params: dict[str, object] = {
        "board": wanted.board, "model": MODEL, "quantize": wanted.quantize
    }  # fmt: skip
    if wanted.calibration is not None:
        params["calibration"] = CALIBRATION
    now = deps.clock.utc_now()
    if deps.store.read(lambda tx: is_attached(tx.benches.all(), wanted.board, now)):
        params["bench"] = True  # a real board where there is one
    measured = boards.measured(deps, wanted.board)
    return params | ({"measured": dict(measured)} if measured else {})


def plain_name(filename: str) -> str:
    """Return what a sender called a file as a plain base name that ends in ``.tflite``."""
    base = filename.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in base if c.isprintable() and not "\ud800" <= c <= "\udfff").strip(" .")
    stem = kept.removesuffix(".tflite")[:MAX_NAME].strip(" .")
    return f"{stem or 'model'}.tflite"


def get(
    deps: Deps, principal: Principal, outcomes: Outcomes, dialect: str, number: int
) -> RequestView:
    """Return a request.

    Raises:
        NotFound: there is none of that number, or it is another account's, or was deleted.
    """
    job = _owned(deps, principal, dialect, number)

    def load(tx: Tx) -> tuple[bool, Artifact | None]:
        return tx.attempts.live_of(job.id) is not None, _artifact(tx, job)

    live, artifact = deps.store.read(load)
    return RequestView(number, job, live, outcomes.of(deps, artifact) if artifact else None)


def listing(
    deps: Deps, principal: Principal, outcomes: Outcomes, dialect: str, board: str | None
) -> list[RequestView]:
    """Return the account's newest requests, newest first."""
    labels = {"board": board} if board else {}
    where = JobFilter(principal.account_id, dialect=dialect, workload=WORKLOAD, labels=labels)

    def load(tx: Tx) -> list[tuple[int, Job, bool, Artifact | None]]:
        out = []
        for job in _newest(tx, where):
            number = numbers.known(tx, dialect, KIND, job.id)
            if number is not None:
                live = not job.terminal and tx.attempts.live_of(job.id) is not None
                out.append((number, job, live, _artifact(tx, job)))
        return out

    rows = deps.store.read(load)
    return [
        RequestView(number, job, live, outcomes.of(deps, artifact) if artifact else None)
        for number, job, live, artifact in rows
    ]


def delete(deps: Deps, principal: Principal, dialect: str, number: int) -> None:
    """Remove an ended request with its files; cancel one that has not ended.

    A run that has not begun is given back; one that has is not.

    Raises:
        NotFound: as ``get``.
    """
    principal.need(Right.WRITE)
    job = _owned(deps, principal, dialect, number)
    if not job.terminal:
        with suppress(IllegalTransition):  # it has just ended
            control.cancel(deps, principal, job.id)
            return
    control.delete(deps, principal, job.id)
    for one in job.spec.inputs:
        with suppress(NotFound):
            uploads.delete(deps, principal, one.ref)


def done(deps: Deps, principal: Principal, dialect: str, number: int) -> Job:
    """Return the Job of a request that went well, whose files are there.

    Raises:
        NotFound: as ``get``, or it has not gone well.
    """
    job = _owned(deps, principal, dialect, number)
    if job.state is not JobState.SUCCEEDED:
        raise NotFound("The request is not done, so it has no artifacts.")
    return job


def _owned(deps: Deps, principal: Principal, dialect: str, number: int) -> Job:
    def load(tx: Tx) -> Job:
        found = numbers.object_of(tx, dialect, KIND, number)
        if found is None:
            raise NotFound(_ABSENT)
        return tx.jobs.get(found, principal.account_id)

    try:
        job = deps.store.read(load)
    except NotFound as error:
        raise NotFound(_ABSENT) from error
    if job.intent is Intent.CANCEL:
        raise NotFound(_ABSENT)  # to its owner it was deleted
    return job


_ABSENT = "There is no request with that id."


def _newest(tx: Tx, where: JobFilter) -> list[Job]:
    """Return the newest Jobs that were not cancelled, as many as a list shows."""
    out: list[Job] = []
    after: After | None = None
    while len(out) < LISTED:
        page = tx.jobs.page(where, after, LISTED)
        out += [job for job in page if job.intent is not Intent.CANCEL]
        if len(page) < LISTED:
            break
        after = After(page[-1].created_at, page[-1].id)
    return out[:LISTED]


def _artifact(tx: Tx, job: Job) -> Artifact | None:
    """Return what an ended Job left."""
    found = tx.files.artifacts(job.id, ArtifactKind.ARTIFACT) if job.terminal else []
    return found[-1] if found else None


def _read(deps: Deps, one: Artifact) -> Outcome | None:
    refs = [f.blob for f in one.files if f.path == OUTCOME]
    if not refs or refs[0].size_bytes > MAX_OUTCOME_BYTES:
        return None
    with suppress(msgspec.DecodeError, NotFound):
        return msgspec.json.decode(deps.blobs.read(one.account_id, refs[0].md5), type=Outcome)
    return None


def _must_have_a_run(deps: Deps, principal: Principal) -> None:
    """Raise PaymentRequired before the work of a check, if nothing could be held after it."""
    account, now = principal.account_id, deps.clock.utc_now()
    funds = deps.store.read(lambda tx: tx.ledger.balance(account, Unit.BOARD_RUN))
    open_hold("", account, "", MICRO, funds, now)
