"""The wire shapes of webhooks and deliveries, both ways."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from trainshed.dialects.middleman.schema import Body

Name = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=64)
]


class WebhookBody(Body):
    """A new webhook."""

    name: Name
    url: Url
    events: Patterns


class WebhookPatch(Body):
    """What changes of a webhook."""

    name: Name | None = None
    url: Url | None = None
    events: Patterns | None = None
    is_active: bool | None = None


class EventKind(BaseModel):
    """What can be subscribed to."""

    name: str
    description: str


class Events(BaseModel):
    """All of them."""

    events: list[EventKind]


class Webhook(BaseModel):
    """Where events are POSTed to. ``health``: active, failing or inactive; ``dropped``: deliveries
    that the limit of its backlog removed.
    """

    id: str
    name: str
    url: str
    events: list[str]
    is_active: bool
    health: str
    failing_since: datetime | None
    dropped: int
    created_at: datetime


class NewWebhook(Webhook):
    """A webhook just made; the secret is shown this once."""

    secret: str = Field(repr=False)


class Secret(BaseModel):
    """A new secret, shown this once."""

    secret: str = Field(repr=False)


class Delivery(BaseModel):
    """One event on its way; ``id`` is the header ``webhook-id``. ``failed``: given up, or the last
    try failed; then ``next_attempt_at`` says when the next one is.
    """

    id: str
    event: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    response_status: int | None
    response_body: str
    error: str
    duration_ms: int | None
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    payload: dict[str, Any]


class Deliveries(BaseModel):
    """A part of what was sent, and how much that is."""

    data: list[Delivery]
    total: int


class Replayed(BaseModel):
    """How many are sent again."""

    replayed: int
