"""Events to a server of yours (webhooks) or to people (channels)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from trainshed_client.api.group import Group, items, pages, part
from trainshed_client.decode import decode
from trainshed_client.models_hooks import ChannelInfo, Delivery, EventKind, Replayed, WebhookInfo
from trainshed_client.transport import clean


class Webhooks(Group):
    """Signed POSTs of events to a URL."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[WebhookInfo]:
        """Yield the account's webhooks, at most ``limit``."""
        return pages(self._transport, WebhookInfo, "/v1/webhooks", limit=limit, sized=False)

    async def event_kinds(self) -> tuple[EventKind, ...]:
        """Return what can be subscribed to; ``*`` and ``job.*`` work too."""
        return items(EventKind, await self._transport.call("GET", "/v1/webhooks/events"))

    async def create(
        self, name: str, url: str, events: Sequence[str], *, job_id: str | None = None
    ) -> WebhookInfo:
        """Make a webhook, of one Job if given; ``secret`` of the answer is shown this once.

        Raises:
            InvalidInput: an address that is not allowed, or an event that there is not.
        """
        body = clean({"name": name, "url": url, "events": [*events], "job_id": job_id})
        answer = await self._transport.call("POST", "/v1/webhooks", body=body, creates=True)
        return decode(WebhookInfo, answer)

    async def get(self, webhook_id: str) -> WebhookInfo:
        """Return one webhook."""
        return decode(WebhookInfo, await self._transport.call("GET", _hook(webhook_id)))

    async def update(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        active: bool | None = None,
    ) -> WebhookInfo:
        """Change what is given. What happens while it is inactive is not sent later."""
        body = _changes(name=name, url=url, events=events, active=active)
        answer = await self._transport.call("PATCH", _hook(webhook_id), body=body)
        return decode(WebhookInfo, answer)

    async def delete(self, webhook_id: str) -> None:
        """Remove a webhook and its deliveries."""
        await self._transport.call("DELETE", _hook(webhook_id))

    async def rotate(self, webhook_id: str) -> WebhookInfo:
        """Give it a new secret, in the answer; for 24 hours the old one signs too."""
        answer = await self._transport.call("POST", f"{_hook(webhook_id)}/rotate")
        return decode(WebhookInfo, answer)

    async def test(self, webhook_id: str) -> Delivery:
        """Send a test event."""
        return decode(Delivery, await self._transport.call("POST", f"{_hook(webhook_id)}/test"))

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Delivery]:
        """Yield its deliveries, newest first; ``state``: pending, delivered or dead."""
        path = f"{_hook(webhook_id)}/deliveries"
        return pages(self._transport, Delivery, path, {"state": state}, limit)

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Return one delivery."""
        path = f"{_hook(webhook_id)}/deliveries/{part(delivery_id)}"
        return decode(Delivery, await self._transport.call("GET", path))

    async def replay(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send one delivery again under its own id."""
        path = f"{_hook(webhook_id)}/deliveries/{part(delivery_id)}/replay"
        return decode(Delivery, await self._transport.call("POST", path))

    async def replay_dead(self, webhook_id: str) -> Replayed:
        """Send every dead delivery again."""
        return decode(Replayed, await self._transport.call("POST", f"{_hook(webhook_id)}/replay"))


class Channels(Group):
    """Slack and e-mail."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[ChannelInfo]:
        """Yield the account's channels, at most ``limit``."""
        return pages(self._transport, ChannelInfo, "/v1/channels", limit=limit, sized=False)

    async def create(
        self,
        channel: str,
        name: str,
        events: Sequence[str],
        *,
        url: str | None = None,
        to: Sequence[str] | None = None,
        job_id: str | None = None,
    ) -> ChannelInfo:
        """Make a channel: ``slack`` with ``url``, or ``email`` with ``to``.

        Raises:
            InvalidInput: an address that is not allowed, or this server sends no mail.
        """
        body = {"channel": channel, "name": name, "job_id": job_id}
        body |= _changes(events=events, url=url, to=to)
        answer = await self._transport.call("POST", "/v1/channels", body=clean(body), creates=True)
        return decode(ChannelInfo, answer)

    async def get(self, channel_id: str) -> ChannelInfo:
        """Return one channel."""
        return decode(ChannelInfo, await self._transport.call("GET", _channel(channel_id)))

    async def update(
        self,
        channel_id: str,
        *,
        name: str | None = None,
        events: Sequence[str] | None = None,
        active: bool | None = None,
        url: str | None = None,
        to: Sequence[str] | None = None,
    ) -> ChannelInfo:
        """Change what is given."""
        body = _changes(name=name, events=events, active=active, url=url, to=to)
        answer = await self._transport.call("PATCH", _channel(channel_id), body=body)
        return decode(ChannelInfo, answer)

    async def delete(self, channel_id: str) -> None:
        """Remove a channel and its deliveries."""
        await self._transport.call("DELETE", _channel(channel_id))

    async def test(self, channel_id: str) -> Delivery:
        """Send a test message."""
        answer = await self._transport.call("POST", f"{_channel(channel_id)}/test")
        return decode(Delivery, answer)

    def deliveries(
        self, channel_id: str, *, state: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Delivery]:
        """Yield its deliveries, newest first."""
        path = f"{_channel(channel_id)}/deliveries"
        return pages(self._transport, Delivery, path, {"state": state}, limit)

    async def replay_dead(self, channel_id: str) -> Replayed:
        """Send every dead delivery again."""
        answer = await self._transport.call("POST", f"{_channel(channel_id)}/replay")
        return decode(Replayed, answer)


def _hook(webhook_id: str) -> str:
    return f"/v1/webhooks/{part(webhook_id)}"


def _channel(channel_id: str) -> str:
    return f"/v1/channels/{part(channel_id)}"


def _changes(**values: Any) -> dict[str, Any]:
    """Return what is given, tuples as lists."""
    return {
        key: [*value] if isinstance(value, tuple | set) else value
        for key, value in values.items()
        if value is not None
    }
