"""The wire shapes of what goes out about webhooks, channels and deliveries; no other fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from trainshed.domain.delivery import Delivery
from trainshed.ports.views import SubscriptionView


class EventKind(BaseModel):
    """What can be subscribed to."""

    kind: str
    means: str


class Webhook(BaseModel):
    """Where events are POSTed to. ``health``: active, failing or inactive; ``dropped``: deliveries
    that the limit of its backlog removed; ``dialect``: whose words ``events`` are.
    """

    id: str
    name: str
    url: str
    events: list[str]
    active: bool
    health: str
    failing_since: datetime | None
    dropped: int
    dialect: str
    job_id: str | None
    created_at: datetime


class NewWebhook(Webhook):
    """A webhook just made or rotated; the secret is shown this once."""

    secret: str = Field(repr=False)


class Channel(BaseModel):
    """Where people are told; ``target`` without what is secret of it."""

    id: str
    channel: str
    name: str
    target: str
    events: list[str]
    active: bool
    health: str
    failing_since: datetime | None
    dropped: int
    job_id: str | None
    created_at: datetime


class DeliveryAnswer(BaseModel):
    """One event on its way; all from ``status`` on tells of the last try."""

    id: str
    kind: str
    seq: int
    job_id: str | None
    state: str
    tries: int
    created_at: datetime
    next_at: datetime | None
    done_at: datetime | None
    status: int | None
    detail: str
    response: str
    took_ms: int | None
    payload: dict[str, Any]


class Replayed(BaseModel):
    """How many are sent again."""

    replayed: int


def to_webhook(view: SubscriptionView) -> Webhook:
    """Return a webhook without its secret."""
    one = view.subscription
    return Webhook(
        id=one.id,
        name=one.name,
        url=view.target,
        events=list(one.events),
        active=one.active,
        health=view.health,
        failing_since=one.failing_since,
        dropped=one.dropped,
        dialect=one.dialect,
        job_id=one.job_id,
        created_at=one.created_at,
    )


def to_new_webhook(view: SubscriptionView) -> NewWebhook:
    """Return a webhook with the secret that is shown this once."""
    return NewWebhook(**to_webhook(view).model_dump(), secret=view.secret or "")


def to_channel(view: SubscriptionView) -> Channel:
    """Return a channel."""
    one = view.subscription
    return Channel(
        id=one.id,
        channel=one.channel,
        name=one.name,
        target=view.target,
        events=list(one.events),
        active=one.active,
        health=view.health,
        failing_since=one.failing_since,
        dropped=one.dropped,
        job_id=one.job_id,
        created_at=one.created_at,
    )


def to_delivery(one: Delivery) -> DeliveryAnswer:
    """Return a delivery."""
    return DeliveryAnswer(
        id=one.id,
        kind=one.kind,
        seq=one.seq,
        job_id=one.job_id,
        state=one.state.value,
        tries=one.tries,
        created_at=one.created_at,
        next_at=one.next_at if one.done_at is None else None,
        done_at=one.done_at,
        status=one.status,
        detail=one.detail,
        response=one.response,
        took_ms=one.took_ms,
        payload=msgspec.json.decode(one.payload, type=dict[str, Any]),
    )
