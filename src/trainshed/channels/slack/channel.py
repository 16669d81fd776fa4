"""One attachment for each event. The incoming webhook's URL is a secret and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trainshed.channels.outbound import retry_after_s, text_of
from trainshed.domain.delivery import Pace
from trainshed.domain.errors import Unavailable
from trainshed.domain.notice import notice
from trainshed.ports.channel import Message, Sent, Surroundings


class SlackChannel:
    """``ports.channel.Channel``. Configuration: ``url``. Slack takes one message a second."""

    name = "slack"
    at_once = 2
    pace = Pace(burst=5, every_s=1.0)

    def __init__(self, around: Surroundings) -> None:
        """Send through the guard."""
        self._outbound, self._base = around.outbound, around.public_url

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the URL."""
        return {"url": self._outbound.check(config.get("url", ""))}

    def shown(self, config: Mapping[str, Any]) -> str:
        """Return where the secret URL leads."""
        parts = urlsplit(str(config["url"]))
        return f"{parts.scheme}://{parts.netloc}/***"

    async def send(self, config: Mapping[str, Any], message: Message) -> Sent:
        """Slack answers 200 to what it took."""
        body = msgspec.json.encode(payload(message, self._base))
        headers = {"content-type": "application/json", "user-agent": "trainshed"}
        try:
            answer = await self._outbound.post(str(config["url"]), headers, body)
        except Unavailable as error:
            return Sent(False, detail=error.detail)
        ok = 200 <= answer.status < 300
        detail = "" if ok else f"Slack answered {answer.status}."
        return Sent(ok, answer.status, detail, text_of(answer), retry_after_s(answer))


def payload(message: Message, base_url: str) -> dict[str, Any]:
    """Return ``{"attachments": [{color, title, fields, timestamp}]}``."""
    one = notice(message.kind, message.body.get("data") or {}, base_url)
    at = datetime.fromisoformat(str(message.body["timestamp"]).replace("Z", "+00:00"))
    attachment: dict[str, Any] = {
        "color": one.colour,
        "title": _escaped(one.title),
        "fields": [
            {"title": head, "value": _escaped(value), "short": head != "Message"}
            for head, value in one.rows
        ],
        "timestamp": int(at.timestamp()),
        "ts": int(at.timestamp()),
    }
    if one.link:
        attachment["title_link"] = one.link
    return {"attachments": [attachment]}


def _escaped(text: str) -> str:
    """Slack's three signs: a name such as ``<!channel>`` must not call anyone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
