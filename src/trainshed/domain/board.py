"""Microcontroller boards: their facts, and figures that say how far they can be trusted.

Nothing emulated or estimated is passed off as measured: every figure carries its `Source` and its
relative error band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trainshed.domain.resources import GIB, Resources

#: What one run takes of a machine: a compiler, an emulator and the reference, one after the other.
RUN_RESOURCES = Resources(1000, GIB)
#: What is stated of a measured time, beside its edges: the clocks of both sides.
CLOCKS_BAND = 0.002
#: What the maker of the power profiler states of a mean current.
CURRENT_BAND = 0.10


class Source(StrEnum):
    """Where a figure comes from. ``emulated``: exact on an emulated core (instructions, bytes)."""

    MEASURED = "measured"
    EMULATED = "emulated"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class Core:
    """A processor core. ``name`` is the compiler's (``cortex-m33``); ``dsp``: SMLAD and friends."""

    name: str
    clock_hz: int
    dsp: bool
    fpu: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """The board's real sizes in bytes."""

    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How instructions become time: seconds = factor × cycles / clock.

    ``cpi``: cycles per instruction by class. ``flash_line_bytes`` and ``wait_states``: what a byte
    of weights read from flash adds. ``band``: the relative error stated with each time.
    ``calibrated_on``: structure digests of the models whose published times fitted the factor; on
    these it is no evidence. ``engine``: whose published times these are; the factor contains how
    that engine's kernels differ from ours. ``measured_on``: the date on which this installation
    fitted the factor to a board of its own. Without either the factor is that of the core's class.
    """

    cpi: Mapping[str, float]
    flash_line_bytes: int
    wait_states: float
    factor: float
    band: float
    calibrated_on: tuple[str, ...] = ()
    engine: str = ""
    version: str = "1"
    measured_on: str = ""


@dataclass(frozen=True, slots=True)
class Power:
    """What the board draws. ``basis``: ``datasheet`` or ``published measurement``."""

    voltage_mv: int
    active_ua: float
    sleep_ua: float
    band: float
    basis: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """What it takes to measure a real board: where its memory is, and the pin that marks time.

    ``target``: the debug probe software's name of the part; ``pack``: the pack that describes it,
    '' where none is needed. ``setup``: (register, value) pairs that the image writes first: clock,
    caches, the direction of the pin. Writing ``pin_mask`` to ``pin_set`` raises the pin,
    ``pin_clear`` lowers it. ``source``: where these facts are from.
    """

    target: str
    pack: str
    flash_origin: int
    ram_origin: int
    pin: str
    pin_mask: int
    pin_set: int
    pin_clear: int
    setup: tuple[tuple[int, int], ...]
    source: str


@dataclass(frozen=True, slots=True)
class Board:
    """One board, as its file in ``workloads/board/facts`` says.

    ``machine``: the emulator's machine with the same core. ``sources``: fact -> where it is from.
    ``reserved_ram_bytes``: stack and runtime, not available to the tensor arena. ``wiring``: None
    for a board that can only be emulated.
    """

    name: str
    title: str
    variant: str
    core: Core
    memory: Memory
    timing: Timing
    power: Power
    machine: str
    reserved_ram_bytes: int
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    wiring: Wiring | None = None

    @property
    def max_arena_bytes(self) -> int:
        """What the tensor arena may take."""
        return self.memory.ram_bytes - self.reserved_ram_bytes


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its provenance. ``band``: relative, 0.15 is ±15 %; 0 for an exact count."""

    value: float
    source: Source
    band: float
    calibrated: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark of a check. ``code`` is stable; ``operator`` is the index in the graph or -1."""

    code: str
    message: str
    operator: int = -1


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a model before anything is built.

    ``macs``: multiply-accumulates of one inference; None where the model was not compiled, because
    it is too large or is quantised first.
    """

    arena_bytes: int
    flash_bytes: int
    macs: int | None
    n_operators: int


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of a validation; ``valid`` is the absence of errors."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    estimate: Estimate | None

    @property
    def valid(self) -> bool:
        """Whether the model can run on the board."""
        return not self.errors
