"""The built-in account ``local``, whom open mode and API_KEY act for (D15)."""

from __future__ import annotations

from dataclasses import dataclass

from trainshed.domain.attempt import Attempt
from trainshed.domain.errors import NotAuthenticated
from trainshed.domain.ledger import Unit
from trainshed.domain.people import Principal, Right, User
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases.accounts import LOCAL
from trainshed.usecases.grants import grant_in


@dataclass(frozen=True, slots=True)
class Standing:
    """``shared``: several people have accounts while a job may share the machine's network, so
    that one person's job could speak for another here.
    """

    principal: Principal
    shared: bool


def standing(deps: Deps) -> Standing:
    """Return who ``local`` is, and whether open mode is safe now.

    Raises:
        NotAuthenticated: the account is disabled or not there.
    """

    def load(tx: Tx) -> Standing:
        account = tx.people.find_account(LOCAL)
        if account is None or account.disabled_at is not None:
            raise NotAuthenticated("The account 'local' is disabled.")
        people = [u for u in tx.people.users(None) if u.disabled_at is None]
        live = tx.attempts.live() if len(people) > 1 else []
        principal = Principal(account.id, None, Right.WRITE, username=LOCAL)
        policy = deps.policy
        isolated = policy.require_isolation and policy.environments.sdists is not True
        return Standing(principal, _shares(people, live, isolated))

    return deps.store.read(load)


def _shares(people: list[User], live: list[Attempt], isolated: bool) -> bool:
    """While several people are here no new job gets the machine's network (D17), unless isolation
    is not required, or may run code while its packages are built; one that began before the newest
    of them came may have it, or be given it.
    """
    if len(people) <= 1:
        return False
    newest = max(one.created_at for one in people)
    early = (one for one in live if one.network in (None, "host"))
    return not isolated or any(one.network or one.leased_at <= newest for one in early)


def first_grant(deps: Deps) -> bool:
    """Give ``local`` its starting credits, as a visible entry, unless it ever had any."""
    amount = deps.policy.local_grant_ucredits
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")

    def apply(tx: Tx) -> bool:
        account = tx.people.find_account(LOCAL)
        if not amount or account is None or tx.ledger.entries(account.id, Unit.CREDIT, None, 1):
            return False
        grant_in(tx, "bootstrap", account.id, amount, Unit.CREDIT, "First start", txn, now)
        return True

    return deps.store.write(apply)
