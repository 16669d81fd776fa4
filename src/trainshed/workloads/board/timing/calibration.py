"""From a measured time to the factor of its board."""

from __future__ import annotations

from trainshed.domain.board import Board, Source
from trainshed.workloads.board.facts.calibration import Calibration
from trainshed.workloads.board.timing.estimate import Timed, fitted_factor


def fit(board: Board, timed: Timed, model: str, date: str) -> Calibration:
    """Return the calibration that a measured execution gives.

    Raises:
        ValueError: it was not measured, or its factor is beyond belief.
    """
    if timed.duration.source is not Source.MEASURED:
        raise ValueError("Only a measured time calibrates a board.")
    seconds = timed.duration.value
    factor = fitted_factor(seconds, timed)
    return Calibration.of(
        Calibration(board.name, factor, model, date, timed.version, seconds).to_dict()
    )
