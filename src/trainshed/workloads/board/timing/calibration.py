"""From a measured time to the factor of its board."""

from __future__ import annotations

from trainshed.domain.board import Board, Source
from trainshed.workloads.board.facts.calibration import LEAST, MOST, Calibration
from trainshed.workloads.board.target.protocol import TargetFailed
from trainshed.workloads.board.timing.estimate import Timed, fitted_factor


def fit(board: Board, timed: Timed, model: str, date: str) -> Calibration:
    """Return the calibration that a measured execution gives.

    Raises:
        TargetFailed: the factor is beyond belief, so the board ran at another speed than it should.
    """
    assert timed.duration.source is Source.MEASURED
    seconds = timed.duration.value
    factor = fitted_factor(seconds, timed)
    if not LEAST <= factor <= MOST:
        raise TargetFailed(
            f"The board took {seconds * 1000:.3f} ms where {timed.unfitted_s * 1000:.3f} ms are "
            f"expected at {board.core.clock_hz / 1e6:g} MHz. Check the clock in the setup of its "
            "file, and that the wire at D0 is at the pin that it names."
        )
    return Calibration(board.name, factor, model, date, timed.version, seconds)
