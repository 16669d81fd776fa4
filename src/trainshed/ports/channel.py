"""A way to notify, and what it is given of the world: HTTP that is guarded, and mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from trainshed.domain.delivery import Pace


@dataclass(frozen=True, slots=True)
class Message:
    """One event to tell. ``id`` is the same at every try; ``sent_at`` is this try's time.

    ``body`` is ``{type, timestamp, data}``: the event's kind, when it happened, what it says.
    """

    id: str
    kind: str
    body: Mapping[str, Any]
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """How a try ended. ``detail`` is for the owner; ``retry_after_s`` is what was asked for."""

    ok: bool
    status: int | None = None
    detail: str = ""
    response: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, cut at the limit of ``Outbound``. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound(Protocol):
    """HTTP to addresses that users gave: guarded, bounded, without proxies or redirects."""

    def check(self, url: str) -> str:
        """Return the URL as it will be used, without asking DNS.

        Raises:
            InvalidInput: it can never be called.
        """

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """Send once; whatever the status, return the answer.

        Raises:
            Unavailable: nothing answered in time, or the address is not allowed.
        """


@dataclass(frozen=True, slots=True)
class Mail:
    """The operator's mail server. ``tls``: ``auto`` takes STARTTLS when it is offered and never
    sends the password without; ``starttls`` and ``tls`` insist; ``off`` does without.
    """

    server: str
    port: int
    sender: str
    password: str = field(default="", repr=False)
    tls: str = "auto"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every channel is built with. ``public_url`` is where links lead."""

    outbound: Outbound
    mail: Mail | None = None
    public_url: str = ""


class Channel(Protocol):
    """Stateless but for connections. ``config`` is what ``check`` returned, kept sealed.

    ``at_once`` bounds tries in flight to one destination; ``pace`` defers what is too much.
    """

    name: str
    at_once: int
    pace: Pace | None

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration to keep.

        Raises:
            InvalidInput: naming the field.
        """

    def shown(self, config: Mapping[str, Any]) -> str:
        """Return the destination as its owner may see it: no secret."""

    async def send(self, config: Mapping[str, Any], message: Message) -> Sent:
        """Try once, within seconds. A destination that fails is an answer, not an error."""
