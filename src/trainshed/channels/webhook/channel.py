"""``webhook-id``, ``webhook-timestamp``, ``webhook-signature``, and a JSON body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from trainshed.channels.outbound import retry_after_s, text_of
from trainshed.domain.delivery import sign
from trainshed.domain.errors import Unavailable
from trainshed.ports.channel import Message, Sent, Surroundings


class WebhookChannel:
    """``ports.channel.Channel``. Configuration: ``url``, ``secret``, while rotating ``old_secret``
    and ``old_until``.
    """

    name = "webhook"
    at_once = 16
    pace = None

    def __init__(self, around: Surroundings) -> None:
        """Send through the guard."""
        self._outbound = around.outbound

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the URL."""
        return {"url": self._outbound.check(config.get("url", ""))}

    def shown(self, config: Mapping[str, Any]) -> str:
        """Return the URL."""
        return str(config["url"])

    async def send(self, config: Mapping[str, Any], message: Message) -> Sent:
        """Any 2xx is success; a redirect is not followed."""
        body = msgspec.json.encode(message.body)
        at = int(message.sent_at.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": "trainshed-webhooks",
            "webhook-id": message.id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(secrets(config, message.sent_at), message.id, at, body),
        }
        try:
            answer = await self._outbound.post(str(config["url"]), headers, body)
        except Unavailable as error:
            return Sent(False, detail=error.detail)
        ok = 200 <= answer.status < 300
        detail = "" if ok else f"The endpoint answered {answer.status}."
        if 300 <= answer.status < 400:
            detail += " Redirects are not followed."
        return Sent(ok, answer.status, detail, text_of(answer), retry_after_s(answer))


def secrets(config: Mapping[str, Any], now: datetime) -> list[str]:
    """Return what signs now: the secret, and the one before it while it overlaps."""
    until = config.get("old_until")
    old = until is not None and now < datetime.fromisoformat(until)
    return [config["secret"], *([config["old_secret"]] if old else [])]
