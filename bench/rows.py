"""What a row is, and how it is printed: target, ratio, met or missed."""

from __future__ import annotations

from dataclasses import dataclass

#: Not below /tmp: a job has a /tmp of its own, and a data directory under there must first be
#: made again inside it. Nobody keeps their data so.
PLACE = "/var/tmp"


@dataclass(frozen=True)
class Row:
    """``value`` against ``other`` gives the ratio; ``target`` is what the ratio should reach.

    ``at_most`` turns the sense around (latencies, memory). ``note`` says what ``other`` is.
    """

    what: str
    value: float
    unit: str
    other: float
    note: str
    target: float
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """Value over other."""
        return self.value / self.other if self.other else float("nan")

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def line(self) -> str:
        """Return the printed row."""
        sense = "≤" if self.at_most else "≥"
        mark = "met" if self.met else "MISSED"
        return (
            f"{self.what:<44} {self.value:>12,.1f} {self.unit:<9} ratio {self.ratio:>8.2f}"
            f"  target {sense} {self.target:g}  {mark:<6}  ({self.note}: {self.other:,.1f})"
        )


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the sorted values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
