"""The store's part that keeps Subscriptions, and deliveries on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trainshed.domain.delivery import Delivery, DeliveryState, Subscription
from trainshed.ports.paging import After


@dataclass(frozen=True, slots=True)
class Tally:
    """How many Deliveries of a channel are in a state, and when the oldest was made."""

    channel: str
    state: DeliveryState
    n: int
    oldest: datetime


class Deliveries(Protocol):
    """Subscriptions, and deliveries on their way."""

    def insert_subscription(self, one: Subscription) -> None: ...
    def get_subscription(self, id_: str, account_id: str | None = None) -> Subscription:
        """Raises NotFound when absent or (given) another account's; locked in a write."""

    def save_subscription(self, one: Subscription) -> None:
        """Write name, events, sealed, active and since_seq."""

    def delete_subscription(self, id_: str) -> None:
        """Remove it with its deliveries."""

    def subscriptions(self, account_id: str) -> list[Subscription]:
        """Oldest first."""

    def listening(self, accounts: Sequence[str]) -> list[Subscription]:
        """The active ones of these accounts, and the operator's."""

    def mark_failing(self, id_: str, since: datetime | None) -> None:
        """Note since when nothing arrives, unless noted; None clears it."""

    def add(self, found: Sequence[Delivery]) -> None:
        """Add those whose id is not there yet."""

    def waiting(self, now: datetime) -> list[str]:
        """Ids of the Subscriptions that have something due."""

    def claim(self, id_: str, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        """Begin a try of the first due ones of a Subscription and return them; nobody begins
        another before ``until``."""

    def settle(self, one: Delivery) -> bool:
        """Write how try number ``tries`` ended; False if it is not the newest, or not pending."""

    def get_delivery(self, id_: str, subscription_id: str) -> Delivery:
        """Raises NotFound."""

    def replay(self, one: Delivery) -> None: ...
    def replay_dead(self, subscription_id: str, now: datetime) -> int: ...
    def page(
        self,
        subscription_id: str,
        state: str | None,
        after: After | None,
        limit: int,
        offset: int = 0,
    ) -> list[Delivery]:
        """Newest first."""

    def count(self, subscription_id: str) -> int: ...
    def trim(self, most: int, limit: int) -> int:
        """Of each Subscription remove what did not arrive beyond ``most``: dead ones first, then
        what waits, oldest first, at most ``limit`` of each. Count it there; return how many.
        """

    def tally(self) -> list[Tally]:
        """Count what is kept, over all accounts, by channel and state."""

    def settled(
        self, since: datetime, until: datetime, limit: int
    ) -> list[tuple[str, str, DeliveryState]]:
        """(channel, Job id, state) of those of Jobs that arrived or died in (since, until]."""

    def purge(self, before: datetime) -> int:
        """Drop what was delivered before; dead ones stay."""

    def purge_dead(self, before: datetime) -> int: ...
