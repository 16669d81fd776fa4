"""Boards: which there are, how busy each is, and whether a model can run on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from trainshed.domain.board import (
    CLOCKS_BAND,
    CURRENT_BAND,
    RUN_RESOURCES,
    Board,
    Finding,
    Report,
    Source,
)
from trainshed.domain.errors import InvalidInput, NotFound, TooLarge, Unavailable
from trainshed.domain.people import Principal, Right
from trainshed.domain.resources import Free, Offer, free_of
from trainshed.ports.boards import Arrays, Boards
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.capacity import offers_of, use_of

#: The largest model that is looked at: more than any board's flash, as float32 before quantisation.
MAX_MODEL_BYTES = 8 * 1024**2
#: How far the queue is counted.
COUNTED = 10_000
#: How many findings a refusal repeats.
TOLD = 20


@dataclass(frozen=True, slots=True)
class BoardView:
    """A board and how busy it is. ``available``: how many more Jobs could begin on it now, of
    ``emulators``; ``queue_length``: Jobs that wait for it. ``benches``: how many real ones are
    attached; where there are any, requests are measured. ``offline``: what to install before
    anything can run on it, '' for nothing.
    """

    board: Board
    available: int
    emulators: int
    running: int
    queue_length: int
    offline: str = ""
    benches: int = 0

    @property
    def source(self) -> Source:
        """Where time and power of a request come from now."""
        return Source.MEASURED if self.benches else Source.EMULATED

    @property
    def duration_band(self) -> float:
        """The relative error stated with times now; measured ones have 20 µs of edges beside it."""
        return CLOCKS_BAND if self.benches else self.board.timing.band

    @property
    def power_band(self) -> float:
        """The relative error stated with power now."""
        return CURRENT_BAND if self.benches else self.board.power.band

    @property
    def power_basis(self) -> str:
        """Where power comes from now."""
        return "measured here" if self.benches else self.board.power.basis

    @property
    def status(self) -> str:
        """``available``, ``busy`` or ``offline``."""
        if self.offline:
            return "offline"
        return "available" if self.available else "busy"


def listing(deps: Deps) -> list[BoardView]:
    """Return every board, by name, as it is now: all derived from live Jobs and leases.

    Raises:
        Unavailable: this installation has no boards.
    """
    wing = _wing(deps)
    offers, offline = offers_of(deps), wing.missing()

    now = deps.clock.utc_now()

    def load(tx: Tx) -> tuple[Counter[str], Counter[str], int, Counter[str]]:
        found = tx.jobs.on_boards(COUNTED)
        running = Counter(job.spec.labels.get("board", "") for job, live in found if live)
        waiting = Counter(job.spec.labels.get("board", "") for job, live in found if not live)
        uses = [use_of(one) for one in tx.attempts.live()]
        drained = tx.records.drained()
        free = sum(_fit(free_of(o, uses)) for o in offers if o.id not in drained)
        here = Counter(bench.board for bench in tx.benches.all() if bench.here(now))
        return running, waiting, free, here

    running, waiting, free, here = deps.store.read(load)
    emulators = deps.policy.board_emulators or max(sum(_all_of(o) for o in offers), 1)
    return [
        BoardView(
            board, 0 if offline else max(0, min((here[name] or emulators) - running[name], free)),
            emulators, running[name], waiting[name], offline, here[name],
        )
        for name, board in sorted(wing.facts().items())
    ]  # fmt: skip


def get(deps: Deps, name: str) -> BoardView:
    """Return one board as it is now.

    Raises:
        NotFound: there is none of that name.
    """
    for view in listing(deps):
        if view.board.name == name:
            return view
    raise NotFound("There is no board with that name.")


def named(deps: Deps, name: str) -> Board:
    """Return the facts of a board that somebody asked for.

    Raises:
        InvalidInput: there is none of that name; lists those there are.
    """
    facts = _wing(deps).facts()
    if name not in facts:
        known = ", ".join(sorted(facts))
        raise InvalidInput(f"There is no board {name[:64]!r}; there is: {known}.", field="board")
    return facts[name]


def measured(deps: Deps, name: str) -> Mapping[str, object] | None:
    """Return what was measured on a board here, for the parameters of its Jobs."""
    return _wing(deps).measured(name)


def must_be_online(deps: Deps) -> None:
    """Raise Unavailable while no board can run anything here."""
    missing = _wing(deps).missing()
    if missing:
        raise Unavailable(f"The boards are offline: {missing}")


def check(
    deps: Deps, principal: Principal, name: str, model: bytes, quantize: bool,
    arrays: Arrays | None = None,
) -> Report:  # fmt: skip
    """Say whether a model can run on a board, with a calibration set of these ``arrays`` if there
    is one; costs no run.

    Raises:
        InvalidInput: no such board. TooLarge: the file. Unavailable: the check cannot run.
    """
    principal.need(Right.WRITE)
    board = named(deps, name)
    if len(model) > MAX_MODEL_BYTES:
        raise TooLarge(
            f"A model may have {MAX_MODEL_BYTES} bytes; this one has {len(model)}.",
            limit_bytes=MAX_MODEL_BYTES,
        )
    if deps.model_check is None:
        raise Unavailable("This server cannot check models.")
    return deps.model_check.check(model, board, quantize, principal.account_id, arrays)


def check_upload(
    deps: Deps, principal: Principal, name: str, upload_id: str, quantize: bool
) -> Report:
    """As ``check``, of a model that was uploaded.

    Raises:
        NotFound: no such upload. InvalidInput: its bytes have not come.
    """
    found = deps.store.read(lambda tx: tx.files.get_upload(upload_id, principal.account_id))
    if found.blob is None:
        raise InvalidInput("This upload has no content yet.", field="upload_id")
    if found.blob.size_bytes > MAX_MODEL_BYTES:
        raise TooLarge(f"A model may have {MAX_MODEL_BYTES} bytes.", limit_bytes=MAX_MODEL_BYTES)
    model = deps.blobs.read(principal.account_id, found.blob.md5)
    return check(deps, principal, name, model, quantize)


def must_be_valid(report: Report) -> None:
    """Raise InvalidInput with what is wrong, unless the model can run."""
    if report.valid:
        return
    first = " ".join(one.message for one in report.errors[:3])
    more = len(report.errors) - 3
    words = f"{first} And {more} more." if more > 0 else first
    found = [finding(one) for one in report.errors[:TOLD]]
    raise InvalidInput(words, field="model", errors=found)


def finding(one: Finding) -> Mapping[str, object]:
    """Return a remark as JSON."""
    return {"code": one.code, "message": one.message, "operator": one.operator}


def _wing(deps: Deps) -> Boards:
    if deps.boards is None:
        raise Unavailable("This server has no boards.")
    return deps.boards


def _all_of(offer: Offer) -> int:
    return _fit(Free(offer, offer.millicpus, offer.memory_bytes))


def _fit(free: Free) -> int:
    """Return how many runs fit into what is free."""
    want = RUN_RESOURCES
    return max(0, min(free.millicpus // want.millicpus, free.memory_bytes // want.memory_bytes))
