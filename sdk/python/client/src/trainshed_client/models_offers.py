"""What the API answers about machines; see ``models``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainshed_client.models import Model


@dataclass(frozen=True, kw_only=True)
class Offer(Model):
    id: str
    executor: str = ""
    pool: str | None = None
    gpu_type: str | None = None
    cpus: float = 0
    memory_bytes: int = 0
    gpus: int = 0
    free: dict[str, Any] = field(default_factory=dict)
    price_ucredits: int | None = None
    drained_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Offers(Model):
    """What is for hire now, and the pools that are configured."""

    items: tuple[Offer, ...] = ()
    pools: tuple[Any, ...] = ()
