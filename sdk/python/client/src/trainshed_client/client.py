"""``AsyncClient``: the API of one server, as noun groups. ``sync.Client`` is derived from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import httpx2

from trainshed_client.api.benches import Benches
from trainshed_client.api.boards import Boards
from trainshed_client.api.events import Events, OfferList
from trainshed_client.api.files import Downloads, Uploads
from trainshed_client.api.group import Group, pages
from trainshed_client.api.hooks import Channels, Webhooks
from trainshed_client.api.jobs import Jobs
from trainshed_client.api.people import Accounts, Credits, Keys, Users
from trainshed_client.api.schedules import Schedules
from trainshed_client.backoff import Backoff
from trainshed_client.config import resolve
from trainshed_client.decode import decode
from trainshed_client.models import AuditLine, Health, Me, Session
from trainshed_client.transport import Transport


class AsyncClient(Group):
    """A server and who calls it.

    Without arguments it takes ``TRAINSHED_URL`` and ``TRAINSHED_API_KEY``, then the profile that
    ``trainshed login`` wrote, then ``http://127.0.0.1:8000``.

    Args:
        url: Address of the server.
        api_key: A key or a session token.
        profile: Name of a profile in the configuration file.
        timeout_s: Longest wait for one answer, in seconds.
        backoff: How often and how fast to try again.
        http: Another way to reach the server, for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        profile: str | None = None,
        timeout_s: float = 30.0,
        backoff: Backoff | None = None,
        http: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        target = resolve(url, api_key, profile)
        super().__init__(
            Transport(target.url, target.api_key, timeout_s=timeout_s, backoff=backoff, http=http)
        )
        self.url = self._transport.url
        self.jobs = Jobs(self._transport)
        self.schedules = Schedules(self._transport)
        self.boards = Boards(self._transport)
        self.benches = Benches(self._transport)
        self.uploads = Uploads(self._transport)
        self.downloads = Downloads(self._transport)
        self.keys = Keys(self._transport)
        self.users = Users(self._transport)
        self.accounts = Accounts(self._transport)
        self.credits = Credits(self._transport)
        self.offers = OfferList(self._transport)
        self.events = Events(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.channels = Channels(self._transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def health(self) -> Health:
        """Return whether the server serves, and its version; needs no key."""
        return decode(Health, await self._transport.call("GET", "/v1/health"))

    async def login(self, username: str, password: str) -> Session:
        """Return a session; its token works as ``api_key`` until it expires.

        Raises:
            NotAuthenticated: the name or the password is wrong.
        """
        body = {"username": username, "password": password}
        return decode(Session, await self._transport.call("POST", "/v1/login", body=body))

    async def register(self, username: str, password: str) -> Session:
        """Make a user and an account of its own.

        Raises:
            NotAllowed: sign-up is closed here.
        """
        body = {"username": username, "password": password}
        answer = await self._transport.call("POST", "/v1/register", body=body)
        return decode(Session, answer)

    async def logout(self) -> None:
        """End the session this client uses."""
        await self._transport.call("POST", "/v1/logout")

    async def me(self) -> Me:
        """Return who is calling."""
        return decode(Me, await self._transport.call("GET", "/v1/me"))

    async def set_password(self, old_password: str, new_password: str) -> None:
        """Change the caller's password; every session ends."""
        body: dict[str, Any] = {"old_password": old_password, "new_password": new_password}
        await self._transport.call("POST", "/v1/me/password", body=body)

    def audit(self, *, limit: int | None = None) -> AsyncIterator[AuditLine]:
        """Yield who did what in the account. Needs an admin's right."""
        return pages(self._transport, AuditLine, "/v1/audit", limit=limit)
