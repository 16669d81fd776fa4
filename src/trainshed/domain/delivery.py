"""Events on their way out: who gets what, when it is tried again, how it is signed.

A Subscription says where events of an account, or of one Job, go. One event for one Subscription is
a Delivery: pending until it is delivered, or dead after the last try; a dead one can be replayed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from trainshed.domain.errors import InvalidInput
from trainshed.domain.events import KINDS, Event

#: Waits grow from 5 s by 4 to 6 h; the eleven tries span more than 25 hours.
FIRST_S, FACTOR, LONGEST_S, TRIES = 5.0, 4.0, 21_600.0, 11
#: Up to this share is added to each wait, so that what failed together does not return together.
JITTER = 0.1
#: A test of a Subscription; it is no event of the log.
TEST = "test"
#: A Subscription is shown as failing once nothing has arrived for this long.
FAILING_AFTER = timedelta(days=3)
MAX_PATTERNS = 64
RESPONSE_CHARS = 4096


class DeliveryState(StrEnum):
    """Where a Delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where events go. ``sealed`` is the channel's own configuration, encrypted.

    ``account_id`` None is the operator's: every account's Jobs of dialect ``job_dialect``.
    ``dialect`` is the vocabulary it is told in, and that of ``events``. Only events after
    ``since_seq`` are sent. ``dropped`` counts Deliveries that the limit of a backlog removed.
    """

    id: str
    account_id: str | None
    channel: str
    name: str
    events: tuple[str, ...]
    created_at: datetime
    sealed: bytes = field(repr=False)
    active: bool = True
    since_seq: int = 0
    job_id: str | None = None
    job_dialect: str | None = None
    dialect: str = "native"
    failing_since: datetime | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one Subscription. ``tries`` counts those begun; the rest tells of the last."""

    id: str
    subscription_id: str
    account_id: str | None
    kind: str
    seq: int
    job_id: str | None
    created_at: datetime
    payload: str
    next_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    done_at: datetime | None = None
    status: int | None = None
    detail: str = ""
    response: str = ""
    took_ms: int | None = None


def delivery_id(seq: int, subscription_id: str) -> str:
    """Return the id that this event has for this Subscription, however often it is sent."""
    return "dlv_" + hashlib.sha256(f"{seq}:{subscription_id}".encode()).hexdigest()[:32]


def check_events(patterns: Iterable[str], kinds: Collection[str] = KINDS) -> tuple[str, ...]:
    """Return the patterns without repetition: ``kinds``, ``job.*`` and the like, or ``*``.

    Raises:
        InvalidInput: one matches nothing there is.
    """
    found = tuple(dict.fromkeys(patterns))
    if not 1 <= len(found) <= MAX_PATTERNS:
        raise InvalidInput(f"events must name 1 to {MAX_PATTERNS} kinds.", field="events")
    for one in found:
        if not any(_covers(one, kind) for kind in kinds):
            raise InvalidInput(
                f"There is no event {one[:64]!r}; GET …/webhooks/events lists them.",
                field="events",
            )
    return found


def wants(one: Subscription, event: Event, name: str, job_dialect: str | None) -> bool:
    """Whether the Subscription gets the event, which its dialect calls ``name``; ``job_dialect`` is
    that of the event's Job.
    """
    return (
        one.active
        and event.seq > one.since_seq
        and one.account_id in (None, event.account_id)
        and one.job_id in (None, event.job_id)
        and one.job_dialect in (None, job_dialect)
        and any(_covers(pattern, name) for pattern in one.events)
    )


def _covers(pattern: str, kind: str) -> bool:
    if pattern.endswith("*"):
        return pattern == "*" or (pattern.endswith(".*") and kind.startswith(pattern[:-1]))
    return pattern == kind


def wait_s(tries: int, share: float, asked_s: float = 0.0) -> float | None:
    """Return the seconds to wait after ``tries`` failed ones; None when there were enough.

    ``share`` is a random number from 0 to 1, ``asked_s`` what the receiver asked for.
    """
    if tries >= TRIES:
        return None
    ladder: float = min(FIRST_S * FACTOR ** (tries - 1), LONGEST_S)
    return max(ladder, min(asked_s, LONGEST_S)) * (1 + JITTER * share)


def succeeded(one: Delivery, now: datetime) -> Delivery:
    """Return the Delivery as arrived."""
    return replace(one, state=DeliveryState.DELIVERED, done_at=now, next_at=now)


def failed(one: Delivery, now: datetime, share: float, asked_s: float = 0.0) -> Delivery:
    """Return the Delivery waiting for its next try, or dead."""
    wait = wait_s(one.tries, share, asked_s)
    if wait is None:
        return replace(one, state=DeliveryState.DEAD, done_at=now, next_at=now)
    return replace(one, next_at=now + timedelta(seconds=wait))


def replayed(one: Delivery, now: datetime) -> Delivery:
    """Return the Delivery pending again under its own id, with a whole ladder before it."""
    return replace(one, state=DeliveryState.PENDING, tries=0, next_at=now, done_at=None)


def health(one: Subscription, now: datetime) -> str:
    """Return ``inactive``, ``failing`` or ``active``."""
    if not one.active:
        return "inactive"
    bad = one.failing_since is not None and now - one.failing_since >= FAILING_AFTER
    return "failing" if bad else "active"


SECRET_PREFIX = "whsec_"  # noqa: S105  a prefix, not a secret


def secret_from(random: str) -> str:
    """Return a signing secret of 32 bytes made from a random text of as much entropy."""
    key = hashlib.sha256(random.encode()).digest()
    return SECRET_PREFIX + base64.b64encode(key).decode()


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` of Standard Webhooks 1.0.0: one ``v1`` for each secret."""
    message = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(_key(one), message, "sha256")).decode()
        for one in secrets
    )


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often one destination is told: ``burst`` at once, then one each ``every_s`` seconds."""

    burst: int
    every_s: float

    def room(self, spent_until: float, now: float) -> int:
        """Return how many may be sent now; ``spent_until`` is what ``spend`` returned last."""
        ahead = max(spent_until - now, 0.0)
        return max(int((self.burst * self.every_s - ahead) / self.every_s + 1e-9), 0)

    def spend(self, spent_until: float, now: float, n: int) -> float:
        """Return the new ``spent_until`` after ``n`` were sent."""
        return max(spent_until, now) + n * self.every_s
