"""What the API answers about webhooks, channels and deliveries; see ``models``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainshed_client.models import Model


@dataclass(frozen=True, kw_only=True)
class EventKind(Model):
    """What can be subscribed to."""

    kind: str
    means: str = ""


@dataclass(frozen=True, kw_only=True)
class WebhookInfo(Model):
    """Where events are POSTed; ``secret`` is there only when just made or rotated."""

    id: str
    name: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    active: bool = True
    health: str = ""
    failing_since: datetime | None = None
    job_id: str | None = None
    created_at: datetime | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class ChannelInfo(Model):
    """Where people are told; ``target`` without what is secret of it."""

    id: str
    channel: str = ""
    name: str = ""
    target: str = ""
    events: tuple[str, ...] = ()
    active: bool = True
    health: str = ""
    failing_since: datetime | None = None
    job_id: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery(Model):
    """One event on its way: pending, delivered or dead; from ``status`` on of the last try."""

    id: str
    kind: str = ""
    state: str = ""
    tries: int = 0
    seq: int = 0
    job_id: str | None = None
    created_at: datetime | None = None
    next_at: datetime | None = None
    done_at: datetime | None = None
    status: int | None = None
    detail: str = ""
    response: str = ""
    took_ms: int | None = None
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Replayed(Model):
    replayed: int = 0
