"""What happened, and what is for hire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from urllib.parse import quote

from trainshed_client.api.group import Group, pages
from trainshed_client.decode import decode
from trainshed_client.models import Event
from trainshed_client.models_offers import Offer, Offers
from trainshed_client.sse import follow


class Events(Group):
    """The events of the caller's account, in order."""

    def list(
        self, *, after_seq: int | None = None, limit: int | None = None
    ) -> AsyncIterator[Event]:
        """Yield events after ``after_seq``, at most ``limit``."""
        params = {"after_seq": after_seq}
        return pages(self._transport, Event, "/v1/events", params, limit)

    async def follow(self, *, after_seq: int | None = None) -> AsyncIterator[Event]:
        """Yield events as they happen, each exactly once, also across dropped connections.

        Without ``after_seq`` it starts where the server starts.

        Raises:
            Unreachable: the server could not be read for a minute.
        """
        last = after_seq if after_seq is not None else -1
        start = str(after_seq) if after_seq is not None else ""
        async with aclosing(follow(self._transport, "/v1/events", last_id=start)) as messages:
            async for message in messages:
                if "seq" not in message.data:
                    continue
                event = decode(Event, message.data)
                if event.seq > last:
                    last = event.seq
                    yield event


class OfferList(Group):
    """What is for hire."""

    async def list(self) -> Offers:
        """Return the offers with what is free of each, and the configured pools."""
        return decode(Offers, await self._transport.call("GET", "/v1/offers"))

    async def drain(self, offer_id: str) -> Offer:
        """Let an offer take nothing new, and move on what runs there (operators)."""
        return await self._change(offer_id, "drain")

    async def undrain(self, offer_id: str) -> Offer:
        """Let an offer take Jobs again (operators)."""
        return await self._change(offer_id, "undrain")

    async def _change(self, offer_id: str, verb: str) -> Offer:
        path = f"/v1/offers/{quote(offer_id, safe='')}/{verb}"
        return decode(Offer, await self._transport.call("POST", path))
