"""What the native door answers about boards."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class BoardCore(BaseModel):
    """A processor core; ``dsp``: it multiplies and adds two pairs in one instruction."""

    name: str
    clock_hz: int
    dsp: bool
    fpu: bool


class Board(BaseModel):
    """A board, its facts with their sources, and how busy it is.

    Bands are relative: 0.15 is ±15 %. ``status``: available, busy or offline; ``offline`` says what
    is missing. ``benches``: real ones that are attached, so that requests are measured; ``source``
    is that of their time and power.
    """

    name: str
    title: str
    variant: str
    core: BoardCore
    flash_bytes: int
    ram_bytes: int
    max_arena_bytes: int
    voltage_mv: int
    source: str
    duration_band: float
    power_band: float
    power_basis: str
    calibrated_on: list[str]
    model_version: str
    notes: list[str]
    sources: dict[str, str]
    status: str
    available: int
    emulators: int
    running: int
    queue_length: int
    benches: int
    offline: str


class Bench(BaseModel):
    """A real board that is attached. It leaves when it was not heard of for ``lease_s``."""

    id: str
    board: str
    name: str
    attached_at: datetime
    seen_at: datetime
    lease_s: float


class Measurement(BaseModel):
    """What a bench is to measure, None for nothing; its parcel is at ``/measurements/{id}``."""

    id: str | None
    board: str


class Finding(BaseModel):
    """A remark about a model; ``operator`` is its index in the graph, or -1."""

    code: str
    message: str
    operator: int


class Estimate(BaseModel):
    """What a model needs, as far as it is known before anything is built.

    ``macs``: null for a model that is too large, or is quantised first.
    """

    arena_bytes: int
    flash_bytes: int
    macs: int | None
    n_operators: int


class Check(BaseModel):
    """Whether a model can run on a board."""

    valid: bool
    errors: list[Finding]
    warnings: list[Finding]
    estimate: Estimate | None
