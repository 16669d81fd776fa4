"""Microcontroller boards: look at them, and ask whether a model can run on one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Path

from trainshed.dialects.native import answers, schema
from trainshed.dialects.native import answers_boards as shapes
from trainshed.domain.board import Finding, Report
from trainshed.domain.ids import parse_id
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Called
from trainshed.usecases import boards
from trainshed.usecases.boards import BoardView

Name = Annotated[str, Path(max_length=64)]


def list_boards(call: Called) -> answers.Items[shapes.Board]:
    """List the boards, and how busy each is."""
    return answers.Items(items=[to_board(view) for view in boards.listing(call.deps)])


def get_board(call: Called, name: Name) -> shapes.Board:
    """Show a board."""
    return to_board(boards.get(call.deps, name))


def check_model(call: Called, name: Name, body: schema.CheckBody) -> shapes.Check:
    """Say whether an uploaded model can run on a board; costs no run."""
    boards.get(call.deps, name)
    upload_id = parse_id("upload", body.upload_id)
    report = boards.check_upload(call.deps, call.principal, name, upload_id, body.quantize)
    return to_check(report)


def to_board(view: BoardView) -> shapes.Board:
    """Return a board."""
    one = view.board
    return shapes.Board(
        name=one.name,
        title=one.title,
        variant=one.variant,
        core=shapes.BoardCore(
            name=one.core.name, clock_hz=one.core.clock_hz, dsp=one.core.dsp, fpu=one.core.fpu
        ),
        flash_bytes=one.memory.flash_bytes,
        ram_bytes=one.memory.ram_bytes,
        max_arena_bytes=one.max_arena_bytes,
        voltage_mv=one.power.voltage_mv,
        source=view.source.value,
        duration_band=view.duration_band,
        power_band=view.power_band,
        power_basis=view.power_basis,
        calibrated_on=list(one.timing.calibrated_on),
        model_version=one.timing.version,
        notes=list(one.notes),
        sources=dict(one.sources),
        status=view.status,
        available=view.available,
        emulators=view.emulators,
        running=view.running,
        queue_length=view.queue_length,
        benches=view.benches,
        offline=view.offline,
    )


def to_check(report: Report) -> shapes.Check:
    """Return the answer of a check."""
    known = report.estimate
    return shapes.Check(
        valid=report.valid,
        errors=[_finding(one) for one in report.errors],
        warnings=[_finding(one) for one in report.warnings],
        estimate=None if known is None else shapes.Estimate(**asdict(known)),
    )


def _finding(one: Finding) -> shapes.Finding:
    return shapes.Finding(code=one.code, message=one.message, operator=one.operator)


ROUTES = [
    Route("GET", "/boards", list_boards, READ),
    Route("GET", "/boards/{name}", get_board, READ),
    Route("POST", "/boards/{name}/check", check_model, WRITE, body_limit=schema.SMALL_BYTES),
]
