"""How a run ended and whose fault it was: ``outcome.json`` in the output directory, always written.

``{"fault": null | "model" | "platform", "code": …, "message": …, "result": … | null}``. The exit
code says the same: 0, ``MODEL_EXIT`` or ``PLATFORM_EXIT``. No file and any other exit code (killed,
out of memory, out of time) is the platform's fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

FILE = "outcome.json"
MODEL_EXIT = 10
PLATFORM_EXIT = 20


class Fault(StrEnum):
    """Who has to do something: the user with the model, or the operator. The latter is free."""

    MODEL = "model"
    PLATFORM = "platform"


#: code -> whose fault; the message says the rest.
CODES: Mapping[str, Fault] = {
    "invalid_request": Fault.MODEL,
    "invalid_model": Fault.MODEL,
    "unsupported": Fault.MODEL,
    "too_large": Fault.MODEL,
    "too_long": Fault.MODEL,
    "quantization_failed": Fault.MODEL,
    # The check, which knows only the least that a program takes, said that it fits.
    "too_large_linked": Fault.PLATFORM,
    "mismatch": Fault.PLATFORM,
    "reference_failed": Fault.PLATFORM,
    "toolchain_missing": Fault.PLATFORM,
    "build_failed": Fault.PLATFORM,
    "target_failed": Fault.PLATFORM,
    "internal": Fault.PLATFORM,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """``result`` is None unless it went well: the five figures, in the contract's words."""

    fault: Fault | None
    code: str
    message: str
    result: Mapping[str, float] | None = None

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        if self.fault is None:
            return 0
        return MODEL_EXIT if self.fault is Fault.MODEL else PLATFORM_EXIT

    def write(self, folder: Path) -> None:
        """Write ``outcome.json``, whole or not at all."""
        scratch = folder / f".{FILE}"
        scratch.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        scratch.replace(folder / FILE)


class RunFailed(Exception):
    """A run that ends without figures. ``code`` is one of ``CODES``."""

    def __init__(self, code: str, message: str) -> None:
        # One line that any terminal may show: it may quote a stranger's model.
        super().__init__("".join(c if c.isprintable() else " " for c in message))
        self.code = code

    @property
    def outcome(self) -> Outcome:
        """What to write."""
        return Outcome(CODES[self.code], self.code, str(self))
