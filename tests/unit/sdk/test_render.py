"""Amounts, times and curves, and the page of a job; strangers' words are never markup."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed_client.cli import render
from trainshed_client.cli.jobpage import Page, page
from trainshed_client.decode import decode
from trainshed_client.models import Artifact, Attempt, Job, MetricPoint, MetricSeries, Receipt

HOSTILE = "[red]x[/red] \x1b]0;t\x07\x1b[2J:smile:"


def drawn(what: object) -> str:
    out = io.StringIO()
    render.console(out).print(what)
    return out.getvalue()


@given(st.integers(-(2**63), 2**63 - 1))
def test_credits_are_exact(ucredits: int) -> None:
    from decimal import Decimal

    assert Decimal(render.credits(ucredits).replace(",", "")) * 10**6 == ucredits


def test_amounts() -> None:
    assert render.credits(1_500_000) == "1.5"
    assert render.credits(-405) == "-0.000405"
    assert render.size(280) == "280 B"
    assert render.size(3 * 1024**3) == "3.0 GiB"
    assert render.lasted(3.14) == "3.1 s"
    assert render.lasted(3725) == "1 h 02 min"
    assert render.lasted(None) == render.size(None) == render.when(None) == "–"


@given(st.lists(st.floats(-1e300, 1e300), max_size=200))
def test_sparkline_is_bounded(values: list[float]) -> None:
    assert len(render.sparkline(values, 20)) == min(20, len(values))


def test_sparkline_falls() -> None:
    assert render.sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert render.sparkline([1.0, 1.0]) == "▄▄"


def full_page() -> Page:
    job = decode(
        Job,
        {
            "id": "job_1", "name": HOSTILE, "state": "RUNNING", "message": HOSTILE,
            "command": ["python", HOSTILE], "created_at": "2026-01-01T12:00:00Z",
            "wait_reason": {"code": "no_gpu", "detail": HOSTILE, "fix": "ask for fewer"},
            "progress": {"epoch": 3, "epoch_total": 10, "step": 40, "loss": 0.25},
        },
    )  # fmt: skip
    attempts = [
        {"id": "a1", "number": 1, "state": "EVICTED", "reason": "preempted", "pool": "p",
         "leased_at": "2026-01-01T12:00:01Z", "started_at": "2026-01-01T12:00:02Z",
         "ended_at": "2026-01-01T12:01:02Z", "signal": 15, "runtime_ms": 60000},
        {"id": "a2", "number": 2, "state": "RUNNING", "leased_at": "2026-01-01T12:01:03Z",
         "started_at": "2026-01-01T12:01:04Z", "resumed_step": 20},
    ]  # fmt: skip
    points = tuple(MetricPoint(key="loss", step=n, value=8.0 - n) for n in range(8))
    return Page(
        job,
        tuple(decode(Attempt, a) for a in attempts),
        (decode(Artifact, {"id": "art_1", "step": 20, "size_bytes": 2048}),),
        MetricSeries(key="loss", points=points),
        decode(Receipt, {"job_id": "job_1", "state": "RUNNING", "captured_ucredits": 405}),
    )


def test_the_page_says_everything() -> None:
    text = drawn(page(full_page()))
    for words in ("queued", "leased #1", "running #1", "evicted #1", "running #2", "(1 min 00 s)",
                  "fix:     ask for fewer", "epoch 3/10  step 40  loss 0.25", "█▇▆▅▄▃▂▁",
                  "signal 15", "art_1", "2.0 KiB", "0.000405"):  # fmt: skip
        assert words in text, words


def test_strangers_words_are_text() -> None:
    text = drawn(page(full_page()))
    assert "[red]x[/red] :smile:" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_an_empty_page_is_a_page() -> None:
    assert "job_1" in drawn(page(Page(decode(Job, {"id": "job_1", "state": "QUEUED"}))))


@pytest.mark.parametrize("value", [HOSTILE, "a\nb\tc", None, 3])
def test_cells_are_one_line(value: object) -> None:
    assert len(drawn(render.cell(value)).splitlines()) == 1
