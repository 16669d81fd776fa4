"""The store's part that keeps attached benches, and what waits to be measured on them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from trainshed.domain.bench import Bench, Measured, Measurement


class Benches(Protocol):
    """Rows only while they matter: a measurement goes with its Attempt, a bench when it leaves."""

    def attach(self, bench: Bench) -> None: ...
    def get(self, id_: str) -> Bench:
        """Raises NotFound."""

    def all(self) -> list[Bench]:
        """By board, the longest attached first."""

    def seen(self, id_: str, now: datetime) -> None: ...
    def detach(self, id_: str) -> None:
        """Remove it; what it had waits again."""

    def ask(self, one: Measurement, parcel: bytes) -> None:
        """Keep what is to be measured; asked twice is asked once."""

    def measurements(self) -> list[Measurement]:
        """All, the oldest first."""

    def of_attempt(self, attempt_id: str) -> Measurement | None: ...
    def take(self, bench: Bench, since: datetime) -> Measurement | None:
        """Give the bench what it has already, or the oldest that waits for its board: nobody has
        it, or a bench that was not seen after ``since``."""

    def parcel(self, attempt_id: str, bench_id: str) -> bytes | None:
        """What is to be measured, None unless that bench has it and has not answered."""

    def answer(self, attempt_id: str, bench_id: str, found: Measured, now: datetime) -> bool:
        """Keep what a bench found; False unless it has it and has not answered."""

    def answer_of(self, attempt_id: str) -> Measured | None: ...
    def forget(self, attempt_id: str) -> None: ...
