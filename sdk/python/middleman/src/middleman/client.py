"""``MiddlemanClient``: the whole API as one object."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from middleman import settings
from middleman.api.account import Account
from middleman.api.data import Data
from middleman.api.jobs import Jobs
from middleman.api.webhooks import Webhooks
from middleman.errors import ApiError as ApiError
from middleman.errors import AuthenticationError as AuthenticationError
from middleman.errors import InsufficientCreditsError as InsufficientCreditsError
from middleman.errors import MiddlemanError as MiddlemanError
from middleman.transport import Transport
from trainshed_client.backoff import Backoff


class MiddlemanClient(Jobs, Account, Data, Webhooks):
    """Talks to one Middleman server with one API key.

    Args:
        api_key: The key; the environment's ``MIDDLEMAN_API_KEY`` if None.
        base_url: The API's address; ``MIDDLEMAN_API_URL`` if None, and without that this machine,
            ``http://localhost:8000/api/v1``.
        timeout: Seconds to wait for an answer.
        retries: How often a call that may be sent twice is, after a failure that may pass.

    Raises:
        AuthenticationError: there is no key.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 30.0,
        *,
        retries: int = 4,
    ) -> None:
        key = api_key or settings.environment_key()
        if not key:
            raise AuthenticationError(
                f"There is no API key: pass api_key, or set {settings.KEY_VARIABLE}."
            )
        self.base_url = settings.base_url(base_url)
        self.timeout = timeout
        self._transport = Transport(
            self.base_url, key, timeout_s=timeout, backoff=Backoff(tries=retries + 1)
        )

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MiddlemanClient(base_url={self.base_url!r})"
