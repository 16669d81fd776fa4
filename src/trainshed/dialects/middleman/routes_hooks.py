"""Webhooks and what was sent to them."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from trainshed.dialects.middleman import hooks, schema_hooks, translate
from trainshed.dialects.middleman.events import KINDS
from trainshed.dialects.middleman.parameters import Limit, Offset
from trainshed.dialects.middleman.schema import SMALL_BYTES
from trainshed.domain.delivery import Delivery
from trainshed.domain.errors import Conflict, NotFound
from trainshed.http.guards import READ, WRITE, Route
from trainshed.http.hall import Call, Called
from trainshed.ports.views import SubscriptionView
from trainshed.usecases import deliveries, subscriptions
from trainshed.usecases.subscriptions import WEBHOOK, Change, Wanted

#: How long the answer to a test waits for how it went.
TEST_S = 12.0
LOOK_S = 0.5


def _hook(call: Call, webhook_id: str) -> str:
    """Return the core's id of a webhook by its UUID or a unique beginning of it."""
    prefix = translate.id_prefix("webhook", webhook_id, "whk")
    found = [v for v in _mine(call) if v.subscription.id.startswith(prefix)]
    if not found:
        raise NotFound("There is no webhook with that id.")
    if len(found) > 1:
        raise Conflict("Several webhooks have ids that begin so; write more of it.")
    return found[0].subscription.id


def _mine(call: Call) -> list[SubscriptionView]:
    found = subscriptions.listing(call.deps, call.principal, webhooks=True)
    return [v for v in found if v.subscription.dialect == translate.DIALECT]


def list_events(call: Called) -> schema_hooks.Events:
    """List what can be subscribed to; `*` is all of it."""
    shown = [schema_hooks.EventKind(name=k, description=v) for k, v in KINDS.items()]
    return schema_hooks.Events(events=shown)


def list_webhooks(call: Called) -> list[schema_hooks.Webhook]:
    """List the webhooks of this door."""
    return [hooks.to_webhook(v) for v in _mine(call)]


def create_webhook(call: Called, body: schema_hooks.WebhookBody) -> schema_hooks.NewWebhook:
    """Make a webhook; its secret is shown this once."""
    wanted = Wanted(
        WEBHOOK, body.name, tuple(body.events), {"url": body.url}, dialect=translate.DIALECT
    )
    made = subscriptions.create(call.deps, call.principal, wanted)
    fields = hooks.to_webhook(made).model_dump()
    return schema_hooks.NewWebhook(**fields, secret=made.secret or "")


def get_webhook(call: Called, webhook_id: str) -> schema_hooks.Webhook:
    """Show a webhook; a unique beginning of its id will do."""
    return hooks.to_webhook(subscriptions.get(call.deps, call.principal, _hook(call, webhook_id)))


def update_webhook(
    call: Called, webhook_id: str, body: schema_hooks.WebhookPatch
) -> schema_hooks.Webhook:
    """Change a webhook, or switch it off and on."""
    events = None if body.events is None else tuple(body.events)
    config = None if body.url is None else {"url": body.url}
    change = Change(body.name, events, body.is_active, config)
    return hooks.to_webhook(
        subscriptions.update(call.deps, call.principal, _hook(call, webhook_id), change)
    )


def delete_webhook(call: Called, webhook_id: str) -> None:
    """Remove a webhook and its deliveries."""
    subscriptions.delete(call.deps, call.principal, _hook(call, webhook_id))


def regenerate_secret(call: Called, webhook_id: str) -> schema_hooks.Secret:
    """Give a webhook a new secret; for 24 hours the old one signs too."""
    made = subscriptions.rotate(call.deps, call.principal, _hook(call, webhook_id))
    return schema_hooks.Secret(secret=made.secret or "")


async def test_webhook(call: Called, webhook_id: str) -> schema_hooks.Delivery:
    """Send a test event and tell how it went, if that is known soon."""
    deps, who = call.deps, call.principal
    hook = await run_in_threadpool(_hook, call, webhook_id)
    made = await run_in_threadpool(deliveries.test, deps, who, hook)
    until = deps.clock.monotonic() + TEST_S
    while True:
        seen = await run_in_threadpool(deliveries.get, deps, who, hook, made.id)
        left = until - deps.clock.monotonic()
        if _tried(seen) or left <= 0:
            return hooks.to_delivery(seen)
        await deps.bus.wait("deliveries", min(left, LOOK_S))


def _tried(one: Delivery) -> bool:
    return one.took_ms is not None


def list_deliveries(
    call: Called, webhook_id: str, limit: Limit = 20, offset: Offset = 0
) -> schema_hooks.Deliveries:
    """List what was sent to a webhook, newest first."""
    rows, total = deliveries.page_from(
        call.deps, call.principal, _hook(call, webhook_id), offset, limit
    )
    return schema_hooks.Deliveries(data=[hooks.to_delivery(r) for r in rows], total=total)


def replay_delivery(call: Called, webhook_id: str, delivery_id: str) -> schema_hooks.Delivery:
    """Send a delivery again under its own id."""
    hook = _hook(call, webhook_id)
    one = translate.id_prefix("delivery", delivery_id, "dlv")
    return hooks.to_delivery(deliveries.replay(call.deps, call.principal, hook, one))


def replay_webhook(call: Called, webhook_id: str) -> schema_hooks.Replayed:
    """Send every failed delivery of a webhook again."""
    n = deliveries.replay_dead(call.deps, call.principal, _hook(call, webhook_id))
    return schema_hooks.Replayed(replayed=n)


ONE, SMALL = "/webhooks/{webhook_id}", SMALL_BYTES
ROUTES = [
    Route("GET", "/webhooks/events", list_events, READ),
    Route("GET", "/webhooks", list_webhooks, READ),
    Route("POST", "/webhooks", create_webhook, WRITE, 201, body_limit=SMALL, idempotent=True),
    Route("GET", ONE, get_webhook, READ),
    Route("PATCH", ONE, update_webhook, WRITE, body_limit=SMALL),
    Route("DELETE", ONE, delete_webhook, WRITE, 204),
    Route("POST", f"{ONE}/regenerate-secret", regenerate_secret, WRITE, body_limit=SMALL),
    Route("POST", f"{ONE}/test", test_webhook, WRITE, body_limit=SMALL),
    Route("GET", f"{ONE}/deliveries", list_deliveries, READ),
    Route("POST", f"{ONE}/deliveries/{{delivery_id}}/replay", replay_delivery, WRITE,
          body_limit=SMALL),
    Route("POST", f"{ONE}/replay", replay_webhook, WRITE, body_limit=SMALL),
]  # fmt: skip
