"""What the API answers about microcontroller boards; see ``models``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainshed_client.models import Model


@dataclass(frozen=True, kw_only=True)
class Board(Model):
    """A board and how busy it is. ``status``: available, busy or offline; bands are relative."""

    name: str
    title: str = ""
    variant: str = ""
    core: dict[str, Any] = field(default_factory=dict)
    flash_bytes: int = 0
    ram_bytes: int = 0
    max_arena_bytes: int = 0
    voltage_mv: int = 0
    source: str = ""
    duration_band: float = 0.0
    power_band: float = 0.0
    power_basis: str = ""
    calibrated_on: tuple[str, ...] = ()
    model_version: str = ""
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    status: str = ""
    available: int = 0
    emulators: int = 0
    running: int = 0
    queue_length: int = 0
    benches: int = 0
    offline: str = ""


@dataclass(frozen=True, kw_only=True)
class Bench(Model):
    """A real board that is attached; it leaves when it was not heard of for ``lease_s``."""

    id: str
    board: str
    name: str = ""
    attached_at: datetime | None = None
    seen_at: datetime | None = None
    lease_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Measurement(Model):
    """What a bench is to measure now; ``id`` None: nothing."""

    id: str | None = None
    board: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding(Model):
    """A remark about a model; ``operator`` is its index in the graph, or -1."""

    code: str
    message: str = ""
    operator: int = -1


@dataclass(frozen=True, kw_only=True)
class ModelEstimate(Model):
    """What a model needs, as far as it is known before anything is built."""

    arena_bytes: int = 0
    flash_bytes: int = 0
    macs: int | None = None
    n_operators: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelCheck(Model):
    """Whether a model can run on a board."""

    valid: bool
    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    estimate: ModelEstimate | None = None
