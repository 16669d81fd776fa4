"""The parameters of a ``board`` Job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainshed.workloads.board.facts.calibration import Calibration

MAX_INFERENCES = 100
#: Plain names: an input of a board Job is data, never something that could be imported or run.
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.tflite\Z")
_CALIBRATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.npz\Z")


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """``model`` and ``calibration`` are the names of inputs: plain, ``.tflite`` and ``.npz``.

    ``calibration``: an ``.npz`` for the quantisation, or None to synthesise one. ``seed``: of the
    random inputs that the result is compared on. ``measured``: a `Calibration` as a mapping, the
    factor that this installation measured on the board. ``bench``: a real board that is attached
    to the server measures time and power.
    """

    board: str
    model: str = "model.tflite"
    quantize: bool = False
    calibration: str | None = None
    n_inferences: int = 10
    seed: int = 0
    measured: Mapping[str, Any] | None = None
    bench: bool = False

    def to_params(self) -> dict[str, Any]:
        """Return what ``from_params`` reads."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> BoardSpec:
        """Return the checked parameters.

        Raises:
            ValueError: names the parameter and what it must be.
        """
        known = {f.name for f in fields(cls)}
        for name in params:
            if name not in known:
                raise ValueError(f"There is no parameter {name!r}; there is: {sorted(known)}.")
        spec = cls(**params) if "board" in params else None
        if spec is None:
            raise ValueError("board must name a board.")
        _kinds(spec)
        if not _MODEL.match(spec.model):
            raise ValueError("model must be a plain file name that ends in .tflite.")
        if spec.calibration is not None and not _CALIBRATION.match(spec.calibration):
            raise ValueError("calibration must be a plain file name that ends in .npz.")
        _whole("n_inferences", spec.n_inferences, 1, MAX_INFERENCES)
        _whole("seed", spec.seed, 0, 2**32 - 1)
        if spec.measured is not None:
            Calibration.of(spec.measured)
        return spec


def _kinds(spec: BoardSpec) -> None:
    """Raise ValueError unless texts are texts and flags are flags."""
    for name in ("board", "model", "calibration"):
        text: object = getattr(spec, name)
        optional = name == "calibration" and text is None
        if not optional and (not isinstance(text, str) or not text):
            raise ValueError(f"{name} must be text.")
    for name in ("quantize", "bench"):
        if not isinstance(getattr(spec, name), bool):
            raise ValueError(f"{name} must be true or false.")


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}.")
