"""MIMaaS's words ↔ the core's, both ways, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from trainshed.dialects.mimaas import schema
from trainshed.domain.board import Finding, Report
from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.ledger import MICRO, Balance
from trainshed.domain.people import User
from trainshed.domain.pricing import BoardPlan
from trainshed.domain.states import JobState
from trainshed.usecases.board_requests import RequestView
from trainshed.usecases.boards import BoardView

DIALECT = "mimaas"
KB = 1024
MAX_DIGITS = 16

#: Where a Job is -> this door's word. A place it already has makes a queued one ``processing``.
STATUS: Mapping[JobState, schema.Status] = {
    JobState.QUEUED: "pending",
    JobState.RUNNING: "processing",
    JobState.PAUSED: "pending",
    JobState.CANCELLING: "processing",
    JobState.SUCCEEDED: "done",
    JobState.FAILED: "error",
    JobState.CANCELLED: "error",
}
#: The artifact types of the contract, and further ones -> the file; None is all, as a zip.
ARTIFACTS: Mapping[str, str | None] = {
    "ram_report": "ram.json",
    "rom_report": "rom.json",
    "power_summary": "ppk2_summary.csv",
    "power_samples": "ppk2_samples.csv",
    "model": "model.tflite",
    "layers": "layers.json",
    "report": "report.json",
    "firmware": "firmware.elf",
    "sources": "sources.zip",
    "quantized_model": "quantized.tflite",
    "all": None,
}
_QUANTIZE: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False, "": False}


def to_me(user: User, number: int, plan: BoardPlan, funds: Sequence[Balance]) -> schema.Me:
    """Return who is calling; a run that is held counts as gone."""
    runs = sum(b.available for b in funds if b.unit == "board_run")
    return schema.Me(
        id=number,
        username=user.username,
        email=user.email,
        first_name=user.first_name,
        surname=user.surname,
        available_runs=max(runs, 0) // MICRO,
        plan=plan.name,
    )


def to_board(view: BoardView) -> schema.Board:
    """Return a board."""
    one = view.board
    return schema.Board(
        name=one.name,
        variant=one.variant,
        board_type=one.core.name,
        specifications=schema.Specifications(
            flash_size=one.memory.flash_bytes // KB,
            ram_size=one.memory.ram_bytes // KB,
            max_available_tensor_arena_size=one.max_arena_bytes // KB,
            voltage=one.power.voltage_mv,
        ),
        available_count=view.available,
        title=one.title,
        notes=list(one.notes),
        provenance=schema.Provenance(
            source=view.source.value,
            duration_band=view.duration_band,
            power_band=view.power_band,
            power_basis=view.power_basis,
            calibrated_on=list(one.timing.calibrated_on),
            model_version=one.timing.version,
        ),
    )


def to_status(view: BoardView) -> schema.BoardStatus:
    """Return how busy a board is."""
    return schema.BoardStatus(
        board=view.board.name,
        status=view.status,  # type: ignore[arg-type]
        available_count=view.available,
        queue_length=view.queue_length,
        message=view.offline,
    )


def to_plan(number: int, one: BoardPlan) -> schema.Plan:
    """Return a plan; its number is its place in the list."""
    return schema.Plan(
        id=number,
        name=one.name,
        available_runs=one.runs,
        price=one.price_cents / 100,
        currency=one.currency,
        renewal_days=one.renewal_days,
    )


def to_validation(report: Report) -> schema.Validation:
    """Return the answer of a check."""
    known = report.estimate
    estimate = None
    if known is not None:
        estimate = schema.Estimate(
            arena_bytes=known.arena_bytes,
            flash_bytes=known.flash_bytes,
            macs=known.macs,
            n_operators=known.n_operators,
        )
    return schema.Validation(
        valid=report.valid,
        errors=_sentences(report.errors),
        warnings=_sentences(report.warnings),
        estimate=estimate,
    )


def _sentences(found: Sequence[Finding]) -> list[str]:
    return [one.message for one in found]


def to_request(view: RequestView) -> schema.Request:
    """Return a request. One whose figures are not all there has failed."""
    job, outcome = view.job, view.outcome
    status, result, message = status_of(view), None, None
    if status == "done":
        result = to_result(outcome.result if outcome else None)
        status = "done" if result else "error"
    if status == "error":
        message = outcome.message if outcome else ""
        message = message or job.message or f"The run failed: {job.reason or 'no result'}."
    params = job.spec.params
    return schema.Request(
        id=view.number,
        status=status,
        board=str(params.get("board", "")),
        quantize=params.get("quantize") is True,
        network=job.name,
        folder_name=f"request_{view.number}",
        error_message=message,
        result=result,
        created_at=job.created_at.isoformat(),
    )


def status_of(view: RequestView) -> schema.Status:
    """Return where a request is."""
    placed = view.live and view.job.state is JobState.QUEUED
    return "processing" if placed else STATUS[view.job.state]


def to_result(figures: Mapping[str, float] | None) -> schema.Result | None:
    """Return the figures, None unless all are there."""
    try:
        return None if figures is None else schema.Result.model_validate(dict(figures))
    except ValidationError:
        return None


def number_of(text: str) -> int:
    """Return the number that a path names.

    Raises:
        NotFound: it is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise NotFound("There is no request with that id.")
    return int(text)


def quantize_of(text: str) -> bool:
    """Return what a form's text says.

    Raises:
        InvalidInput: neither true nor false.
    """
    word = text.strip().lower()
    if word not in _QUANTIZE:
        raise InvalidInput("quantize must be true or false.", field="quantize")
    return _QUANTIZE[word]
