"""A curve over several Attempts: what a successor repeats is shown once, the rest stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from trainshed.domain.attempt import Attempt
from trainshed.domain.resources import Pool, Resources
from trainshed.ports.streams import Point
from trainshed.usecases import billing, metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = Attempt("a1", "j", "acc", 1, 1, "o", "process", "p", 1000, 1, NOW, started_at=NOW)
SECOND = replace(FIRST, id="a2", number=2)


class Streams:
    def __init__(self, steps: dict[str, range]) -> None:
        self.steps = steps

    def series(self, attempt_id: str, key: str, *_: Any) -> list[Point]:
        return [Point(key, s, 0, float(s)) for s in self.steps[attempt_id]]


class Tx:
    def __init__(self, **steps: range) -> None:
        self.streams = Streams(steps)


@pytest.mark.parametrize(
    ("resumed_from", "resumed_step", "want"),
    [
        ("art", 10, [*range(11), *range(11, 20)]),
        ("art", None, [*range(11), *range(11, 20)]),
        (None, None, [*range(11, 20)]),
    ],
)
def test_join(resumed_from: str | None, resumed_step: int | None, want: list[int]) -> None:
    second = replace(SECOND, resumed_from=resumed_from, resumed_step=resumed_step)
    tx: Any = Tx(a1=range(16), a2=range(11, 20))
    found = metrics._series(tx, [FIRST, second], "loss", None, None)
    assert [p.step for p in found] == want


def test_gpu_types_are_known_in_any_case() -> None:
    pools = [Pool("a100", "a100", 80, 1), Pool("local-cpu", None, 0, 1)]
    assert billing.known_type(pools, Resources(gpus=1, gpu_type="A100")).gpu_type == "a100"
    assert billing.known_type(pools, Resources(gpus=1, gpu_type="h900")).gpu_type == "h900"
    assert billing.known_type(pools, Resources()).gpu_type is None
