"""Webhooks: where the account's events are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from middleman.api.base import Family, at, listed, mapping, paged, value
from middleman.models import Webhook


class Webhooks(Family):
    """Webhooks, their secrets and their deliveries."""

    def list_webhooks(self) -> list[Webhook]:
        """Return the account's webhooks."""
        return cast("list[Webhook]", listed(self._get("/webhooks")))

    def create_webhook(self, name: str, url: str, events: Sequence[str]) -> Webhook:
        """Make a webhook. Its ``secret``, which signs every delivery, is told only now.

        Args:
            name: What lists call it.
            url: Where events are sent to by POST.
            events: Which: see ``get_webhook_events``; ``*`` is all.
        """
        body = {"name": name, "url": url, "events": list(events)}
        return cast("Webhook", mapping(self._create("/webhooks", body)))

    def get_webhook(self, webhook_id: str) -> Webhook:
        """Return one webhook."""
        return cast("Webhook", mapping(self._get(at("/webhooks", webhook_id))))

    def update_webhook(
        self,
        webhook_id: str,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Change what is given of a webhook, and return it."""
        given = {
            "name": name,
            "url": url,
            "events": None if events is None else list(events),
            "is_active": is_active,
        }
        body = {k: v for k, v in given.items() if v is not None}
        answer = self._transport.call("PATCH", at("/webhooks", webhook_id), body=body)
        return cast("Webhook", mapping(answer))

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook; what it still waits for is not sent."""
        self._transport.call("DELETE", at("/webhooks", webhook_id))

    def regenerate_webhook_secret(self, webhook_id: str) -> str:
        """Give a webhook a new secret and return it; it is told only now."""
        return value(self._post(at("/webhooks", webhook_id, "regenerate-secret")), "secret", str)

    def test_webhook(self, webhook_id: str) -> dict[str, Any]:
        """Send an event for practice and return the delivery: how it went, if the server knows that
        within seconds.
        """
        return mapping(self._post(at("/webhooks", webhook_id, "test")))

    def get_webhook_deliveries(
        self, webhook_id: str, limit: int = 20, offset: int = 0
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of deliveries, newest first, and how many there are in all."""
        path = at("/webhooks", webhook_id, "deliveries")
        return paged(self._get(path, limit=limit, offset=offset))

    def replay_webhook_delivery(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        """Send a delivery again under its own id, and return it.

        Raises:
            ConflictError: it is still being tried.
        """
        path = at("/webhooks", webhook_id, "deliveries", delivery_id, "replay")
        return mapping(self._post(path))

    def replay_webhook(self, webhook_id: str) -> int:
        """Send every delivery again that was given up; return how many."""
        return value(self._post(at("/webhooks", webhook_id, "replay")), "replayed", int)

    def get_webhook_events(self) -> list[Any]:
        """Return the events there are, as the server describes them."""
        found: list[Any] = value(self._get("/webhooks/events"), "events", list)
        return found
