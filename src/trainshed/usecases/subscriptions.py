"""Where an account's events go: webhooks and channels, made, changed, rotated and removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from trainshed.domain.delivery import Subscription, check_events, health, secret_from
from trainshed.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from trainshed.domain.people import Principal, Right
from trainshed.ports.channel import Channel
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import SubscriptionView
from trainshed.usecases import audit
from trainshed.usecases.words import words_of

WEBHOOK = "webhook"
#: Webhooks, and apart from them other channels, of one account.
MAX_EACH = 50
#: How long the old secret signs beside the new one.
OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a new Subscription. ``config`` is the channel's, ``job_id`` narrows."""

    channel: str
    name: str
    events: tuple[str, ...]
    config: Mapping[str, Any] = field(repr=False)
    job_id: str | None = None
    dialect: str = "native"


@dataclass(frozen=True, slots=True)
class Change:
    """What changes; None leaves it."""

    name: str | None = None
    events: tuple[str, ...] | None = None
    active: bool | None = None
    config: Mapping[str, Any] | None = field(default=None, repr=False)


def create(deps: Deps, principal: Principal, wanted: Wanted) -> SubscriptionView:
    """Subscribe from now on; a webhook's secret is in the answer and nowhere else.

    Raises:
        InvalidInput: a bad name, event or address. NotFound: another account's Job.
        Conflict: there are too many.
    """
    principal.need(Right.WRITE)
    _check_name(wanted.name)
    channel = _channel(deps, wanted.channel)
    config = channel.check(wanted.config)
    kinds = words_of(deps, wanted.dialect).kinds
    secret = None
    if wanted.channel == WEBHOOK:
        secret = config["secret"] = secret_from(deps.ids.token(32))
    now = deps.clock.utc_now()
    kind = "webhook" if wanted.channel == WEBHOOK else "channel"
    made = Subscription(
        deps.ids.new(kind), principal.account_id, wanted.channel, wanted.name,
        check_events(wanted.events, kinds), now, seal(deps, config), job_id=wanted.job_id,
        dialect=wanted.dialect,
    )  # fmt: skip

    def apply(tx: Tx) -> Subscription:
        tx.ledger.lock(principal.account_id)
        if made.job_id is not None:
            tx.jobs.get(made.job_id, principal.account_id)
        there = [s for s in tx.deliveries.subscriptions(principal.account_id) if _same(s, made)]
        if len(there) >= MAX_EACH:
            raise Conflict(f"An account may have {MAX_EACH} {kind}s; remove one first.")
        begun = replace(made, since_seq=tx.events.last_seq())
        tx.deliveries.insert_subscription(begun)
        audit.line(tx, principal, principal.account_id, f"{kind}.create", made.id, now)
        return begun

    return replace(_view(deps, deps.store.write(apply), config), secret=secret)


def listing(deps: Deps, principal: Principal, webhooks: bool) -> list[SubscriptionView]:
    """Return the account's webhooks, or its other channels, oldest first."""
    found = deps.store.read(lambda tx: tx.deliveries.subscriptions(principal.account_id))
    return [view(deps, s) for s in found if (s.channel == WEBHOOK) == webhooks]


def get(deps: Deps, principal: Principal, id_: str) -> SubscriptionView:
    """Return one. Raises NotFound."""
    return view(deps, load(deps, principal, id_))


def update(deps: Deps, principal: Principal, id_: str, change: Change) -> SubscriptionView:
    """Change what is given. What happens while it is inactive is not sent later.

    Raises:
        InvalidInput: as ``create``. NotFound.
    """
    principal.need(Right.WRITE)
    old = load(deps, principal, id_)
    new = old
    if change.name is not None:
        _check_name(change.name)
        new = replace(new, name=change.name)
    if change.events is not None:
        kinds = words_of(deps, old.dialect).kinds
        new = replace(new, events=check_events(change.events, kinds))
    if change.active is not None:
        new = replace(new, active=change.active)
    if change.config is not None:
        config = opened(deps, old)
        kept = {k: v for k, v in config.items() if "secret" in k or k == "old_until"}
        checked = _channel(deps, old.channel).check({**config, **change.config})
        new = replace(new, sealed=seal(deps, {**checked, **kept}))
    return view(deps, _save(deps, principal, old, new, "update"))


def rotate(deps: Deps, principal: Principal, id_: str) -> SubscriptionView:
    """Give a webhook a new secret; for a day the old one signs too.

    Raises:
        NotFound: there is no such webhook.
    """
    principal.need(Right.WRITE)
    old = load(deps, principal, id_)
    if old.channel != WEBHOOK:
        raise NotFound("There is no webhook with that id.")
    config = opened(deps, old)
    config["old_secret"] = config["secret"]
    config["old_until"] = (deps.clock.utc_now() + OVERLAP).isoformat()
    secret = config["secret"] = secret_from(deps.ids.token(32))
    saved = _save(deps, principal, old, replace(old, sealed=seal(deps, config)), "rotate")
    return replace(_view(deps, saved, config), secret=secret)


def delete(deps: Deps, principal: Principal, id_: str) -> None:
    """Remove it with its deliveries. Raises NotFound."""
    principal.need(Right.WRITE)
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        tx.deliveries.get_subscription(id_, principal.account_id)
        tx.deliveries.delete_subscription(id_)
        audit.line(tx, principal, principal.account_id, f"{_kind(id_)}.delete", id_, now)

    deps.store.write(apply)


def install(deps: Deps, id_: str, wanted: Wanted | None, job_dialect: str) -> None:
    """Keep the operator's own Subscription as the settings say; None switches it off."""
    now = deps.clock.utc_now()
    sealed = b""
    if wanted is not None:
        sealed = seal(deps, _channel(deps, wanted.channel).check(wanted.config))

    def apply(tx: Tx) -> None:
        try:
            old = tx.deliveries.get_subscription(id_)
        except NotFound:
            if wanted is None:
                return
            made = Subscription(
                id_, None, wanted.channel, wanted.name, wanted.events, now, sealed,
                since_seq=tx.events.last_seq(), job_dialect=job_dialect, dialect=wanted.dialect,
            )  # fmt: skip
            tx.deliveries.insert_subscription(made)
            return
        if wanted is None:
            tx.deliveries.save_subscription(replace(old, active=False))
            return
        since = old.since_seq if old.active else tx.events.last_seq()
        new = replace(old, events=wanted.events, sealed=sealed, active=True, since_seq=since)
        tx.deliveries.save_subscription(new)

    deps.store.write(apply)


def load(deps: Deps, principal: Principal, id_: str) -> Subscription:
    """Return the account's own. Raises NotFound."""
    return deps.store.read(lambda tx: tx.deliveries.get_subscription(id_, principal.account_id))


def view(deps: Deps, one: Subscription) -> SubscriptionView:
    """Return what its owner may see; a key that is gone hides the target, not the rest."""
    try:
        return _view(deps, one, opened(deps, one))
    except Unavailable:
        return SubscriptionView(one, "", health(one, deps.clock.utc_now()))


def opened(deps: Deps, one: Subscription) -> dict[str, Any]:
    """Return the configuration."""
    return msgspec.json.decode(deps.secrets.unseal(one.sealed), type=dict[str, Any])


def seal(deps: Deps, config: Mapping[str, Any]) -> bytes:
    """Encrypt a configuration."""
    return deps.secrets.seal(msgspec.json.encode(config))


def _view(deps: Deps, one: Subscription, config: Mapping[str, Any]) -> SubscriptionView:
    channel = deps.channels.get(one.channel)
    target = channel.shown(config) if channel is not None else ""
    return SubscriptionView(one, target, health(one, deps.clock.utc_now()))


def _save(
    deps: Deps, principal: Principal, old: Subscription, new: Subscription, verb: str
) -> Subscription:
    now: datetime = deps.clock.utc_now()

    def apply(tx: Tx) -> Subscription:
        found = tx.deliveries.get_subscription(old.id, principal.account_id)
        if found.sealed != old.sealed:
            raise Conflict("It was changed by someone else just now; try again.")
        woken = new.active and not found.active
        saved = replace(new, since_seq=tx.events.last_seq()) if woken else new
        tx.deliveries.save_subscription(saved)
        audit.line(tx, principal, principal.account_id, f"{_kind(old.id)}.{verb}", old.id, now)
        return saved

    return deps.store.write(apply)


def _channel(deps: Deps, name: str) -> Channel:
    found = deps.channels.get(name)
    if found is None:
        raise Unavailable(f"There is no channel {name[:64]!r} on this server.")
    return found


def _kind(id_: str) -> str:
    return "webhook" if id_.startswith("whk_") else "channel"


def _same(one: Subscription, other: Subscription) -> bool:
    return (one.channel == WEBHOOK) == (other.channel == WEBHOOK)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInput("name must be 1 to 100 printable characters.", field="name")
