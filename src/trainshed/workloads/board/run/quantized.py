"""A float model made int8 before it runs, where the request asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainshed.workloads.board.run.outcome import RunFailed


@dataclass(frozen=True, slots=True)
class Quantized:
    """The int8 model and what is known of it: accuracy, how it was calibrated, warnings."""

    model: bytes
    report: Mapping[str, Any]


def quantize(model: bytes, calibration: Path | None, seed: int) -> Quantized:
    """Return the model in int8.

    Raises:
        RunFailed: it cannot be quantised, or the quantiser is not installed.
    """
    raise RunFailed("quantization_failed", "This build cannot quantise.")
