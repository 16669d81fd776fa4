"""Webhooks and deliveries in Middleman's shapes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trainshed.dialects.middleman import schema_hooks
from trainshed.dialects.middleman.translate import public_id
from trainshed.domain.delivery import Delivery, DeliveryState
from trainshed.ports.views import SubscriptionView


def to_webhook(view: SubscriptionView) -> schema_hooks.Webhook:
    """Return a webhook without its secret."""
    one = view.subscription
    return schema_hooks.Webhook(
        id=public_id(one.id),
        name=one.name,
        url=view.target,
        events=list(one.events),
        is_active=one.active,
        health=view.health,
        failing_since=one.failing_since,
        dropped=one.dropped,
        created_at=one.created_at,
    )


def to_delivery(one: Delivery) -> schema_hooks.Delivery:
    """Return a delivery with how its last try went."""
    delivered = one.state is DeliveryState.DELIVERED
    return schema_hooks.Delivery(
        id=one.id,
        event=one.kind,
        status=_status(one),
        attempts=one.tries,
        response_status=one.status,
        response_body=one.response,
        error=one.detail,
        duration_ms=one.took_ms,
        created_at=one.created_at,
        delivered_at=one.done_at if delivered else None,
        next_attempt_at=one.next_at if one.done_at is None else None,
        payload=msgspec.json.decode(one.payload, type=dict[str, Any]),
    )


def _status(one: Delivery) -> Literal["pending", "delivered", "failed"]:
    if one.state is DeliveryState.DELIVERED:
        return "delivered"
    return "failed" if one.state is DeliveryState.DEAD or one.detail else "pending"
