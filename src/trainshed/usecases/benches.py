"""Benches: real boards that an operator's program attaches, and the Jobs that measure on them.

The Job stays in its sandbox. Its runner hands over what is to be measured and waits for the answer;
the bench's program, wherever it runs, asks for work and answers. The rows here are where both meet.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec

from trainshed.domain.artifact import ArtifactKind
from trainshed.domain.bench import (
    LEASE,
    MAX_FAILURE,
    MAX_PARCEL_BYTES,
    Bench,
    Measured,
    Measurement,
    is_attached,
    measures_on,
)
from trainshed.domain.errors import Conflict, InvalidInput, NotFound, TooLarge
from trainshed.domain.people import Principal
from trainshed.domain.states import JobState
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases import audit, boards
from trainshed.usecases.attempts import live
from trainshed.usecases.engine import Engine

#: The file of a measured run with the factor that it gave.
CALIBRATION = "calibration.json"
MAX_CALIBRATION_BYTES = 4096
#: A bench that was silent for so long is forgotten.
FORGOTTEN = timedelta(hours=1)
#: A server that was away has heard of no bench: so many seconds after its start they are back.
AFRESH_S = 60.0
MAX_NAME = 100


def topic(board: str) -> str:
    """Return what the bus calls news for a board's benches."""
    return f"bench:{board}"


def attach(
    deps: Deps, principal: Principal, board: str, name: str, version: str, own: str
) -> Bench:
    """Let a bench measure for this server, until it leaves or falls silent. ``version``: of the
    bench's program; ``own``: of the server's.

    Raises:
        InvalidInput: no such board, or one whose wiring is not known. Conflict: the bench's program
            is of another version, and would measure something else.
    """
    if boards.named(deps, board).wiring is None:
        raise InvalidInput(
            f"{board} cannot be measured: its file has no section [wiring].", field="board"
        )
    if version != own:
        raise Conflict(
            f"The bench's trainshed is {version[:40]}, the server's is {own}: install the "
            "server's version beside the bench."
        )
    now = deps.clock.utc_now()
    bench = Bench(deps.ids.new("bench"), board, name[:MAX_NAME], principal.account_id, now, now)

    def apply(tx: Tx) -> None:
        tx.benches.attach(bench)
        audit.line(tx, principal, principal.account_id, "bench.attach", bench.id, now, board=board)

    deps.store.write(apply)
    return bench


def listing(deps: Deps) -> list[Bench]:
    """Return the benches that are there now."""
    now = deps.clock.utc_now()
    return [one for one in deps.store.read(lambda tx: tx.benches.all()) if one.here(now)]


def renew(deps: Deps, bench_id: str) -> Bench:
    """Note that a bench is there.

    Raises:
        NotFound: it has left or was forgotten; attach it again.
    """
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> Bench:
        bench = tx.benches.get(bench_id)
        tx.benches.seen(bench_id, now)
        return replace(bench, seen_at=now)

    return deps.store.write(apply)


def take(deps: Deps, bench_id: str) -> Measurement | None:
    """Return what the bench is to measure now, None for nothing. Only what it is given renews it:
    it may be gone since it asked.

    Raises:
        NotFound: as ``renew``.
    """
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> Measurement | None:
        found = tx.benches.take(tx.benches.get(bench_id), now - LEASE)
        if found is not None:
            tx.benches.seen(bench_id, now)
        return found

    return deps.store.write(apply)


def parcel(deps: Deps, bench_id: str, attempt_id: str) -> bytes:
    """Return what is to be measured.

    Raises:
        NotFound: that bench does not have it, or nobody wants it any more.
    """
    found = deps.store.read(lambda tx: tx.benches.parcel(attempt_id, bench_id))
    if found is None:
        raise NotFound(_UNWANTED)
    return found


def answer(deps: Deps, bench_id: str, attempt_id: str, found: Measured) -> None:
    """Take what a bench measured, or why it could not.

    Raises:
        NotFound: as ``parcel``. TooLarge: the answer.
    """
    if len(found.parcel) > MAX_PARCEL_BYTES:
        raise TooLarge("The answer is too large.", limit_bytes=MAX_PARCEL_BYTES)
    now, short = deps.clock.utc_now(), replace(found, failure=found.failure[:MAX_FAILURE])
    if not deps.store.write(lambda tx: tx.benches.answer(attempt_id, bench_id, short, now)):
        raise NotFound(_UNWANTED)
    deps.bus.notify(f"measured:{attempt_id}")


def detach(deps: Deps, principal: Principal, bench_id: str) -> None:
    """Let a bench go; what it had waits for another one.

    Raises:
        NotFound: as ``renew``.
    """
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        tx.benches.get(bench_id)
        tx.benches.detach(bench_id)
        audit.line(tx, principal, principal.account_id, "bench.detach", bench_id, now)

    deps.store.write(apply)


def asking(engine: Engine, attempt_id: str, data: bytes) -> Callable[[Tx], str]:
    """Return the transaction that keeps what an Attempt wants measured; it returns the board.

    Raises:
        InvalidInput: its Job has no bench: only a closed workload's own code may write to a board.
    """
    now = engine.deps.clock.utc_now()

    def apply(tx: Tx) -> str:
        attempt = live(tx, attempt_id)
        board = measures_on(tx.jobs.get(attempt.job_id))
        if not board:
            raise InvalidInput("This job does not measure.")
        tx.benches.ask(Measurement(attempt_id, attempt.account_id, board, now), data)
        return board

    return apply


def outcome(deps: Deps, attempt_id: str) -> Measured | None:
    """Return what a bench said of an Attempt's measurement, None while it is open."""
    return deps.store.read(lambda tx: tx.benches.answer_of(attempt_id))


def given_up(engine: Engine, attempt_id: str) -> Measured | None:
    """Return what is to be said where no bench of the board is there, else None."""
    deps = engine.deps
    if deps.clock.monotonic() - engine.begun < AFRESH_S:
        return None
    now = deps.clock.utc_now()

    def load(tx: Tx) -> bool:
        one = tx.benches.of_attempt(attempt_id)
        return one is not None and not is_attached(tx.benches.all(), one.board, now)

    if not deps.store.read(load):
        return None
    return Measured(failure="No bench of this board is attached any more. Try again.")


def tidy(deps: Deps) -> None:
    """Forget the measurements of ended Attempts, and benches that were long silent.

    A run of the account that attached a bench also gives the board's factor: other people's models
    shall not change everybody's estimates.
    """
    now = deps.clock.utc_now()

    def ended(tx: Tx) -> list[tuple[Measurement, str]]:
        found = [(one, tx.attempts.get(one.attempt_id)) for one in tx.benches.measurements()]
        return [(one, attempt.job_id) for one, attempt in found if not attempt.live]

    for one, job_id in deps.store.read(ended):
        # First, so that a file that cannot be read does not keep the house untidy for ever.
        deps.store.write(partial(_forget, attempt_id=one.attempt_id))
        with suppress(NotFound):  # the Job or its files were deleted
            _calibrate(deps, one, job_id)
    for bench in deps.store.read(lambda tx: tx.benches.all()):
        if now - bench.seen_at > FORGOTTEN:
            deps.store.write(partial(_detach, bench_id=bench.id))


def _forget(tx: Tx, attempt_id: str) -> None:
    tx.benches.forget(attempt_id)


def _detach(tx: Tx, bench_id: str) -> None:
    tx.benches.detach(bench_id)


def _calibrate(deps: Deps, one: Measurement, job_id: str) -> None:
    """Keep the factor that a measured run gave."""

    def load(tx: Tx) -> str | None:
        owners = {b.id: b.account_id for b in tx.benches.all()}
        job = tx.jobs.get(job_id)
        if job.state is not JobState.SUCCEEDED or owners.get(one.bench_id or "") != one.account_id:
            return None
        found = tx.files.artifacts(job_id, ArtifactKind.ARTIFACT)
        refs = [f.blob for f in found[-1].files if f.path == CALIBRATION] if found else []
        small = [ref.md5 for ref in refs if ref.size_bytes <= MAX_CALIBRATION_BYTES]
        return small[0] if small else None

    md5 = deps.store.read(load) if one.answered_at is not None else None
    if md5 is None or deps.boards is None:
        return
    try:
        values = msgspec.json.decode(deps.blobs.read(one.account_id, md5), type=dict[str, object])
    except msgspec.DecodeError:
        return
    deps.boards.calibrate(one.board, values)


_UNWANTED = "This is not to be measured, or no longer."
