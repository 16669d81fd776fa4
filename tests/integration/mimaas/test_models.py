"""Models print as the document shows them."""

from __future__ import annotations

import dataclasses

import pytest
from tests.integration.mimaas.stub import BOARD, PLANS, RESULT, USER

import mimaas
from mimaas import Board, Plan, Request, Results, User

PRINTED = """\
Results:
  Inference Time: 12.34 ms
  Energy: 45.67 µJ
  Power: 3702.10 µW
  RAM: 48.2 KB
  Flash: 112.5 KB"""


def test_results_print_the_five_lines() -> None:
    assert str(Results.from_dict(RESULT)) == PRINTED


def test_a_board_prints_its_facts() -> None:
    assert str(Board.from_dict(BOARD)) == (
        "Board Type: nrf5340dk\n  Variant: nrf5340_cpuapp\n  Flash: 1024 KB\n  RAM: 512 KB\n"
        "  Max Tensor Arena: 448 KB\n  Voltage: 3000 mV\n  Available: 2 board(s)"
    )
    bare = Board.from_dict({"name": "a", "variant": "b", "board_type": "c"})
    assert (bare.flash_size_kb, bare.available_count) == (0, 0)


def test_plans_print_their_price() -> None:
    shown = [str(Plan.from_dict(plan)) for plan in PLANS]
    assert shown == ["Free Plan: 10 runs - Free", "Pro Plan: 1000 runs - $49.50 USD"]


def test_requests_print_their_end() -> None:
    start = {"id": 3, "status": "pending", "board": "nrf5340dk"}
    assert str(Request.from_dict(start)) == "Request #3: pending"
    failed = {**start, "status": "error", "error_message": "too large"}
    assert str(Request.from_dict(failed)) == "Request #3: error\n  Error: too large"
    done = {**start, "status": "done", "result": RESULT}
    assert str(Request.from_dict(done)) == f"Request #3: done\n  {PRINTED}"


@pytest.mark.parametrize("status", ["pending", "processing", "done", "error"])
def test_where_a_request_is(status: str) -> None:
    request = Request(1, status, "nrf5340dk")
    flags = (request.is_pending, request.is_processing, request.is_successful, request.has_error)
    assert flags.index(True) == ["pending", "processing", "done", "error"].index(status)
    assert flags.count(True) == 1
    assert request.is_complete == (status in ("done", "error"))


@pytest.mark.parametrize("missing", sorted(RESULT))
def test_a_result_that_is_not_whole_is_none(missing: str) -> None:
    partial = {k: v for k, v in RESULT.items() if k != missing}
    for result in (partial, {**RESULT, missing: "12"}, {**RESULT, missing: float("nan")}, [1]):
        request = {"id": 1, "status": "done", "board": "b", "result": result}
        assert Request.from_dict(request).results is None


def test_models_do_not_change() -> None:
    user = User.from_dict(USER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        user.available_runs = 100  # type: ignore[misc]
    assert User.from_dict({**USER, "plan": None}).plan == "free"


def test_every_documented_name_is_exported() -> None:
    for name in mimaas.__all__:
        assert getattr(mimaas, name) is not None
    for kind in mimaas.__all__:
        found = getattr(mimaas, kind)
        if isinstance(found, type) and issubclass(found, Exception):
            assert issubclass(found, mimaas.MIMaaSError)
    quota = mimaas.QuotaExceededError(3)
    assert (quota.available_runs, str(quota)) == (3, "No available runs remaining. Available: 3")
    failed = mimaas.ProcessingError("flash", "no probe")
    assert str(failed) == "Processing failed at stage 'flash': no probe"
