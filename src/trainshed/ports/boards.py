"""Microcontroller boards: which there are, and whether a model can run on one.

Both Protocols are filled beside the server; what they know is in ``workloads/board``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from trainshed.domain.board import Board, Report

#: Name -> numpy's letter of its kind, and its dimensions.
Arrays = Mapping[str, tuple[str, tuple[int, ...]]]


class Boards(Protocol):
    """The facts, and what this machine lacks to build and run firmware."""

    def facts(self) -> Mapping[str, Board]:
        """Return every board by its name; always the same ones."""

    def measured(self, name: str) -> Mapping[str, Any] | None:
        """Return the parameter ``measured`` of Jobs for a board, None if it never was here."""

    def calibrate(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep what was measured on a board here; what is no calibration of it is dropped."""

    def missing(self) -> str:
        """Return what to install before any board can run a model, in a sentence; '' for nothing.

        Looks at the machine each time, and is quick.
        """


class ModelCheck(Protocol):
    """Answers before anything is built; costs no run."""

    def check(
        self, model: bytes, board: Board, quantize: bool, who: str = "",
        arrays: Arrays | None = None,
    ) -> Report:  # fmt: skip
        """Return what is wrong with the model, what is notable, and what it needs.

        The bytes are a stranger's: whatever they hold, the answer is a Report. With ``quantize``
        it also says whether the model can be quantised here, and checks the result's sizes as far
        as they are known. ``who``: whose turn it is where many wait. ``arrays``: of the calibration
        set that comes with it.

        Raises:
            Unavailable: the check itself could not run; nothing is known of the model.
        """
