"""Webhooks, channels, and the deliveries of both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends

from trainshed.dialects.native import answers
from trainshed.dialects.native import answers_hooks as shapes
from trainshed.dialects.native import schema_hooks as schema
from trainshed.dialects.native.parameters import Cursor, Limit, after, following
from trainshed.dialects.native.schema import SMALL_BYTES
from trainshed.domain.events import KINDS
from trainshed.domain.ids import parse_id
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Call, Called
from trainshed.usecases import deliveries, subscriptions
from trainshed.usecases.subscriptions import WEBHOOK, Change, Wanted


async def _webhook(webhook_id: str) -> str:
    return parse_id("webhook", webhook_id)


async def _channel(channel_id: str) -> str:
    return parse_id("channel", channel_id)


async def _delivery(delivery_id: str) -> str:
    return parse_id("delivery", delivery_id)


WebhookRef = Annotated[str, Depends(_webhook)]
ChannelRef = Annotated[str, Depends(_channel)]
DeliveryRef = Annotated[str, Depends(_delivery)]
State = Literal["pending", "delivered", "dead"] | None
Deliveries = answers.Page[shapes.DeliveryAnswer]


def list_event_kinds(call: Called) -> answers.Items[shapes.EventKind]:
    """List what can be subscribed to; `*` and `job.*` work too."""
    return answers.Items(items=[shapes.EventKind(kind=k, means=v) for k, v in KINDS.items()])


def list_webhooks(call: Called) -> answers.Items[shapes.Webhook]:
    """List the account's webhooks."""
    found = subscriptions.listing(call.deps, call.principal, webhooks=True)
    return answers.Items(items=[shapes.to_webhook(v) for v in found])


def create_webhook(call: Called, body: schema.WebhookBody) -> shapes.NewWebhook:
    """Make a webhook; its secret is shown this once."""
    wanted = Wanted(
        WEBHOOK, body.name, tuple(body.events), {"url": body.url}, _job(body.job_id)
    )  # fmt: skip
    return shapes.to_new_webhook(subscriptions.create(call.deps, call.principal, wanted))


def get_webhook(call: Called, webhook_id: WebhookRef) -> shapes.Webhook:
    """Show a webhook."""
    return shapes.to_webhook(subscriptions.get(call.deps, call.principal, webhook_id))


def update_webhook(
    call: Called, webhook_id: WebhookRef, body: schema.WebhookPatch
) -> shapes.Webhook:
    """Change a webhook."""
    change = _change(body, None if body.url is None else {"url": body.url})
    return shapes.to_webhook(subscriptions.update(call.deps, call.principal, webhook_id, change))


def delete_webhook(call: Called, webhook_id: WebhookRef) -> None:
    """Remove a webhook and its deliveries."""
    subscriptions.delete(call.deps, call.principal, webhook_id)


def rotate_webhook(call: Called, webhook_id: WebhookRef) -> shapes.NewWebhook:
    """Give a webhook a new secret; for 24 hours the old one signs too."""
    return shapes.to_new_webhook(subscriptions.rotate(call.deps, call.principal, webhook_id))


def test_webhook(call: Called, webhook_id: WebhookRef) -> shapes.DeliveryAnswer:
    """Send a test event."""
    return shapes.to_delivery(deliveries.test(call.deps, call.principal, webhook_id))


def list_webhook_deliveries(
    call: Called,
    webhook_id: WebhookRef,
    state: State = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Deliveries:
    """List a webhook's deliveries, newest first."""
    return _page(call, webhook_id, state, limit, cursor)


def get_webhook_delivery(
    call: Called, webhook_id: WebhookRef, delivery_id: DeliveryRef
) -> shapes.DeliveryAnswer:
    """Show one delivery."""
    return shapes.to_delivery(deliveries.get(call.deps, call.principal, webhook_id, delivery_id))


def replay_webhook_delivery(
    call: Called, webhook_id: WebhookRef, delivery_id: DeliveryRef
) -> shapes.DeliveryAnswer:
    """Send a delivery again under its own id."""
    return shapes.to_delivery(
        deliveries.replay(call.deps, call.principal, webhook_id, delivery_id)
    )  # fmt: skip


def replay_webhook(call: Called, webhook_id: WebhookRef) -> shapes.Replayed:
    """Send every dead delivery of a webhook again."""
    n = deliveries.replay_dead(call.deps, call.principal, webhook_id)
    return shapes.Replayed(replayed=n)


def list_channels(call: Called) -> answers.Items[shapes.Channel]:
    """List the account's Slack and e-mail channels."""
    found = subscriptions.listing(call.deps, call.principal, webhooks=False)
    return answers.Items(items=[shapes.to_channel(v) for v in found])


def create_channel(call: Called, body: schema.ChannelBody) -> shapes.Channel:
    """Make a channel."""
    config = body.model_dump(include={"url", "to"}, exclude_none=True)
    wanted = Wanted(body.channel, body.name, tuple(body.events), config, _job(body.job_id))
    return shapes.to_channel(subscriptions.create(call.deps, call.principal, wanted))


def get_channel(call: Called, channel_id: ChannelRef) -> shapes.Channel:
    """Show a channel."""
    return shapes.to_channel(subscriptions.get(call.deps, call.principal, channel_id))


def update_channel(
    call: Called, channel_id: ChannelRef, body: schema.ChannelPatch
) -> shapes.Channel:
    """Change a channel."""
    config = body.model_dump(include={"url", "to"}, exclude_none=True)
    change = _change(body, config or None)
    return shapes.to_channel(subscriptions.update(call.deps, call.principal, channel_id, change))


def delete_channel(call: Called, channel_id: ChannelRef) -> None:
    """Remove a channel and its deliveries."""
    subscriptions.delete(call.deps, call.principal, channel_id)


def test_channel(call: Called, channel_id: ChannelRef) -> shapes.DeliveryAnswer:
    """Send a test message."""
    return shapes.to_delivery(deliveries.test(call.deps, call.principal, channel_id))


def list_channel_deliveries(
    call: Called,
    channel_id: ChannelRef,
    state: State = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Deliveries:
    """List a channel's deliveries, newest first."""
    return _page(call, channel_id, state, limit, cursor)


def replay_channel(call: Called, channel_id: ChannelRef) -> shapes.Replayed:
    """Send every dead delivery of a channel again."""
    n = deliveries.replay_dead(call.deps, call.principal, channel_id)
    return shapes.Replayed(replayed=n)


def _page(call: Call, id_: str, state: str | None, limit: int, cursor: str | None) -> Deliveries:
    what = f"deliveries:{id_}:{state}"
    first = after(call, what, cursor)
    rows = deliveries.page(call.deps, call.principal, id_, state, first, limit)
    more = following(call, what, rows, limit)
    return answers.Page(items=[shapes.to_delivery(r) for r in rows], next=more)


def _job(job_id: str | None) -> str | None:
    return None if job_id is None else parse_id("job", job_id)


def _change(
    body: schema.WebhookPatch | schema.ChannelPatch, config: dict[str, Any] | None
) -> Change:
    events = None if body.events is None else tuple(body.events)
    return Change(body.name, events, body.active, config)


def _post(path: str, endpoint: Any, status: int = 200, idempotent: bool = False) -> Route:
    return Route(
        "POST", path, endpoint, WRITE, status, body_limit=SMALL_BYTES, idempotent=idempotent
    )


_HOOK, _CHANNEL = "/webhooks/{webhook_id}", "/channels/{channel_id}"
ROUTES = [
    Route("GET", "/webhooks/events", list_event_kinds, READ),
    Route("GET", "/webhooks", list_webhooks, READ),
    _post("/webhooks", create_webhook, 201, idempotent=True),
    Route("GET", _HOOK, get_webhook, READ),
    Route("PATCH", _HOOK, update_webhook, WRITE, body_limit=SMALL_BYTES),
    Route("DELETE", _HOOK, delete_webhook, WRITE, 204),
    _post(f"{_HOOK}/rotate", rotate_webhook),
    _post(f"{_HOOK}/test", test_webhook, 202),
    Route("GET", f"{_HOOK}/deliveries", list_webhook_deliveries, READ),
    Route("GET", f"{_HOOK}/deliveries/{{delivery_id}}", get_webhook_delivery, READ),
    _post(f"{_HOOK}/deliveries/{{delivery_id}}/replay", replay_webhook_delivery, 202),
    _post(f"{_HOOK}/replay", replay_webhook, 202),
    Route("GET", "/channels", list_channels, READ),
    _post("/channels", create_channel, 201, idempotent=True),
    Route("GET", _CHANNEL, get_channel, READ),
    Route("PATCH", _CHANNEL, update_channel, WRITE, body_limit=SMALL_BYTES),
    Route("DELETE", _CHANNEL, delete_channel, WRITE, 204),
    _post(f"{_CHANNEL}/test", test_channel, 202),
    Route("GET", f"{_CHANNEL}/deliveries", list_channel_deliveries, READ),
    _post(f"{_CHANNEL}/replay", replay_channel, 202),
]
