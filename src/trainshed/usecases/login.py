"""Log in, log out, sign up. An unknown name takes as long, and says as little, as a wrong
password.
"""

from __future__ import annotations

import unicodedata
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from trainshed.domain.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated
from trainshed.domain.people import Account, Principal, Session, User
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import LoginView
from trainshed.usecases import audit
from trainshed.usecases.accounts import ADMIN, LOCAL, AccountView, check_name, check_password
from trainshed.usecases.grants import begin_plan, plan_named

WRONG = "The username or the password is wrong."
#: Longest e-mail address or name of a person.
MAX_WORDS = 254


class Throttle(Protocol):
    """Slows guessing down, by name and by address; never locks a name out for good."""

    def check(self, name: str, address: str) -> None:
        """Raise RateLimited while this caller has to wait."""

    def failed(self, name: str, address: str) -> None:
        """Note a wrong guess."""

    def succeeded(self, name: str, address: str) -> None:
        """Note a right one: this address has proven itself for this name."""

    def hashing(self) -> AbstractContextManager[None]:
        """Bound how many passwords are hashed at once. Raises Overloaded."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who signs up. ``plan`` '' is the first one; the names are for show, and may be empty."""

    username: str
    password: str = field(repr=False)
    plan: str = ""
    email: str = ""
    first_name: str = ""
    surname: str = ""


def login(deps: Deps, throttle: Throttle, username: str, password: str, address: str) -> LoginView:
    """Open a session.

    Raises:
        NotAuthenticated: wrong, by the same words whatever is. RateLimited: wait first.
    """
    return _open(deps, *proven(deps, throttle, username, password, address))


def proven(
    deps: Deps, throttle: Throttle, username: str, password: str, address: str
) -> tuple[User, Account]:
    """Return whose name and password these are. Raises as ``login``."""
    name = username.casefold()[:64]
    throttle.check(name, address)
    user = deps.store.read(lambda tx: tx.people.find_user(username))
    plain = unicodedata.normalize("NFC", password)
    with throttle.hashing():
        right = deps.secrets.check_password(plain, user.password_hash if user else None)
    account = _account(deps, user)
    if user is None or account is None or not right:
        throttle.failed(name, address)
        if user is not None:
            _note_failure(deps, user)
        raise NotAuthenticated(WRONG)
    throttle.succeeded(name, address)
    return user, account


def whoami(deps: Deps, principal: Principal) -> tuple[User, AccountView]:
    """Return the calling person and account. Raises NotAllowed for a job's token."""
    if principal.user_id is None:
        raise NotAllowed("A job's own token speaks for no person.")
    user_id, account_id = principal.user_id, principal.account_id

    def load(tx: Tx) -> tuple[User, AccountView]:
        account = tx.people.get_account(account_id)
        return (
            tx.people.get_user(user_id, account_id),
            AccountView(account, tx.files.used_bytes(account_id)),
        )

    return deps.store.read(load)


def logout(deps: Deps, principal: Principal) -> None:
    """End the calling session; with a key there is nothing to end."""
    if principal.session_id is None:
        raise Conflict("You are using an API key; revoke it to end it.")
    session_id, now = principal.session_id, deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        one = tx.people.find_session(session_id)
        if one is not None and one.revoked_at is None:
            tx.people.save_session(replace(one, revoked_at=now))
            audit.line(tx, principal, one.account_id, "session.end", session_id, now)

    deps.store.write(apply)


def register(deps: Deps, throttle: Throttle, wanted: Newcomer, address: str) -> LoginView:
    """Make an account with one admin user, and log in. Raises as ``sign_up``."""
    return _open(deps, *sign_up(deps, throttle, wanted, address))


def sign_up(deps: Deps, throttle: Throttle, wanted: Newcomer, address: str) -> tuple[User, Account]:
    """Make an account with one admin user and its plan's runs.

    Raises:
        NotAllowed: sign-up is closed. Conflict: the name is taken. RateLimited.
        InvalidInput: a name, the password, or a plan that only the operator gives.
    """
    if not deps.policy.sign_up_open:
        raise NotAllowed("Sign-up is closed on this server; ask its operator for an account.")
    username = check_name(wanted.username)
    if username.casefold() in (ADMIN, LOCAL):
        raise Conflict("That name is taken.", field="username")
    _check_newcomer(deps, wanted)
    plain = check_password(wanted.password, username)
    throttle.check("", address)
    throttle.failed("", address)
    with throttle.hashing():
        hashed = deps.secrets.hash_password(plain)
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")
    account = Account(deps.ids.new("account"), username, now, plan=wanted.plan)
    user = User(
        deps.ids.new("user"), account.id, username, hashed, "admin", False, now,
        email=wanted.email, first_name=wanted.first_name, surname=wanted.surname,
    )  # fmt: skip

    def apply(tx: Tx) -> Account:
        if tx.people.find_user(username) or tx.people.find_account(username):
            raise Conflict("That name is taken.", field="username")
        tx.people.insert_account(account)
        tx.people.insert_user(user)
        audit.line(tx, "sign-up", account.id, "user.create", user.id, now, role="admin")
        return begin_plan(tx, deps.policy, account.id, txn, now)

    return user, deps.store.write(apply)


def _check_newcomer(deps: Deps, wanted: Newcomer) -> None:
    """Whoever signs up may choose among the plans that cost nothing."""
    if wanted.plan and plan_named(deps.policy, wanted.plan).price_cents:
        raise InvalidInput(
            f"The plan {wanted.plan!r} is given by the operator; sign up without it.", field="plan"
        )
    for name in ("email", "first_name", "surname"):
        value = getattr(wanted, name)
        if len(value) > MAX_WORDS or not value.isprintable():
            raise InvalidInput(f"{name} may be {MAX_WORDS} printable characters.", field=name)


def _account(deps: Deps, user: User | None) -> Account | None:
    """Return the account if the person may log in to it."""
    if user is None or user.disabled_at is not None:
        return None
    account = deps.store.read(lambda tx: tx.people.get_account(user.account_id))
    return account if account.disabled_at is None else None


def _open(deps: Deps, user: User, account: Account) -> LoginView:
    now = deps.clock.utc_now()
    ends = now + timedelta(seconds=deps.policy.session_ttl_s)
    session_id = deps.ids.new("session")
    token = f"{session_id}_{deps.ids.token(32)}"
    made = Session(session_id, account.id, user.id, deps.secrets.digest(token), now, ends)

    def apply(tx: Tx) -> None:
        if tx.people.get_user(user.id).password_hash != user.password_hash:
            raise NotAuthenticated(WRONG)  # changed while this login was being checked
        tx.people.insert_session(made)
        audit.line(tx, user.id, account.id, "session.begin", session_id, now)

    deps.store.write(apply)
    return LoginView(token, ends, user, account)


def _note_failure(deps: Deps, user: User) -> None:
    now = deps.clock.utc_now()
    deps.store.submit(
        lambda tx: audit.line(tx, "nobody", user.account_id, "login.failed", user.id, now)
    )
