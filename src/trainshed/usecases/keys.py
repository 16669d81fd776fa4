"""API keys, and who is calling: a key, a session or a job token becomes a Principal."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainshed.domain.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound
from trainshed.domain.people import (
    SCOPES,
    Account,
    Key,
    Principal,
    Right,
    User,
    right_of,
)
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import KeyView
from trainshed.usecases import audit

#: Prefixes a key may have. An empty one gives 64 hex digits, as MIMaaS documents its tokens.
PREFIXES = ("ts_", "mdlm_", "")
MAX_KEYS = 200
MAX_DAYS = 3650
MAX_LOGINS = 20
#: The name of keys that stand for a login, in dialects whose clients know no sessions.
LOGIN = "login"
REFUSED = "This needs a valid API key or session token; it is missing, unknown, expired or revoked."

_KEY = re.compile(r"([a-z]{2,8}_)([0-9a-f]{8})_([A-Za-z0-9_-]{43})\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_SESSION = re.compile(r"(ses_[0-9a-f]{32})_[A-Za-z0-9_-]{43}\Z")
_JOB = re.compile(r"tsj_([0-9a-f]{32})_[A-Za-z0-9_-]{8,128}\Z")
_DRAWS = 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked of a new key."""

    name: str
    scopes: tuple[str, ...] = ("read", "write")
    expires_in_days: int | None = None
    spend_limit_ucredits: int | None = None
    prefix: str = "ts_"


def create(deps: Deps, principal: Principal, wanted: NewKey) -> KeyView:
    """Make a key for the calling person; its secret is in the answer and nowhere else.

    A key that makes another never gives it more right, time or money than it has itself.

    Raises:
        InvalidInput: a bad name, scope, prefix or figure. NotAllowed: more than the caller has.
    """
    user_id = _person(principal)
    _check(wanted)
    now = deps.clock.utc_now()
    days = wanted.expires_in_days
    expires = None if days is None else now + timedelta(days=days)
    for _ in range(_DRAWS):
        lookup, secret = _draw(deps, wanted.prefix)
        made = Key(
            deps.ids.new("key"), principal.account_id, user_id, wanted.name, wanted.prefix,
            lookup, deps.secrets.digest(secret), wanted.scopes, now, expires,
            wanted.spend_limit_ucredits,
        )  # fmt: skip
        if deps.store.write(lambda tx, made=made: _insert(tx, principal, made, now)):  # type: ignore[misc]
            return KeyView(made, secret)
    raise Conflict("No free key id could be drawn; try again.")


def for_login(deps: Deps, user: User, account: Account) -> str:
    """Make a prefixless key for a person who has just proven who they are; return its secret.

    A person keeps the newest ``MAX_LOGINS`` of them, until the password changes.
    """
    now, scopes = deps.clock.utc_now(), ("read", "write", "admin")
    lookup, secret = _draw(deps, "")
    made = Key(
        deps.ids.new("key"), account.id, user.id, LOGIN, "", lookup, deps.secrets.digest(secret),
        scopes, now,
    )  # fmt: skip

    def apply(tx: Tx) -> None:
        tx.ledger.lock(account.id)
        if tx.people.get_user(user.id).password_hash != user.password_hash:
            raise NotAuthenticated(REFUSED)  # changed while this login was being checked
        if tx.people.find_key(lookup) is not None:
            raise Conflict("Draw again: please repeat the request.")
        end_logins(tx, user, now, MAX_LOGINS - 1)
        tx.people.insert_key(made)
        audit.line(tx, user.id, account.id, "key.create", made.id, now, scopes=list(scopes))

    deps.store.write(apply)
    return secret


def end_logins(tx: Tx, user: User, now: datetime, keep: int = 0) -> None:
    """Revoke the person's login keys but the newest ``keep``."""
    mine = [
        k
        for k in tx.people.keys(user.account_id)
        if k.user_id == user.id and (k.name, k.prefix) == (LOGIN, "") and k.revoked_at is None
    ]
    for old in mine[: max(len(mine) - keep, 0)]:
        tx.people.save_key(replace(old, revoked_at=now))


def list_keys(deps: Deps, principal: Principal) -> list[KeyView]:
    """Return the caller's live keys; all of the account's for its admins."""
    found = deps.store.read(lambda tx: tx.people.keys(principal.account_id))
    everyone = principal.right >= Right.ADMIN
    return [
        KeyView(k)
        for k in found
        if k.revoked_at is None and (everyone or k.user_id == principal.user_id)
    ]


def revoke(deps: Deps, principal: Principal, key_id: str) -> None:
    """End a key for good: an own one, or as admin any of the account. Twice is fine."""
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        tx.ledger.lock(principal.account_id)
        key = _visible(tx, principal, key_id)
        if key.revoked_at is None:
            tx.people.save_key(replace(key, revoked_at=now))
            audit.line(tx, principal, key.account_id, "key.revoke", key.id, now)

    deps.store.write(apply)


def rotate(deps: Deps, principal: Principal, key_id: str) -> KeyView:
    """Give an own key a new secret; the old one dies with the commit.

    Raises:
        NotAllowed: another's key, or one that may do more than the calling key.
        Conflict: it is revoked.
    """
    user_id = _person(principal)
    now = deps.clock.utc_now()
    old = deps.store.read(lambda tx: _visible(tx, principal, key_id))
    lookup, secret = _draw(deps, old.prefix)
    digest = deps.secrets.digest(secret)

    def apply(tx: Tx) -> Key:
        tx.ledger.lock(principal.account_id)
        key = _visible(tx, principal, key_id)
        if key.user_id != user_id:
            raise NotAllowed("Only its owner may rotate a key; an admin may revoke it.")
        if key.revoked_at is not None:
            raise Conflict("This key is revoked; make a new one.")
        if principal.key_id != key.id:
            _check_mint(tx, principal, key)
        if tx.people.find_key(lookup) is not None:
            raise Conflict("Draw again: please repeat the request.")
        new = replace(key, lookup=lookup, secret_hash=digest)
        tx.people.save_key(new)
        audit.line(tx, principal, key.account_id, "key.rotate", key.id, now)
        return new

    return KeyView(deps.store.write(apply), secret)


def touch(deps: Deps, key_id: str, account_id: str) -> None:
    """Note that a key was used just now. Not awaited: a lost note hurts nobody."""
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        tx.ledger.lock(account_id)
        key = tx.people.get_key(key_id, account_id)
        if key.revoked_at is None:
            tx.people.save_key(replace(key, last_used_at=now))

    deps.store.submit(apply)


def authenticate(deps: Deps, presented: str) -> Principal:
    """Return who ``presented`` speaks for.

    Raises:
        NotAuthenticated: always by the same words, whatever is wrong with it.
    """
    if len(presented) > 512 or not presented.isascii():
        raise NotAuthenticated(REFUSED)
    digest = deps.secrets.digest(presented)
    if found := _JOB.match(presented):
        return _by_job(deps, f"att_{found[1]}", presented)
    if found := _SESSION.match(presented):
        return _by_session(deps, found[1], digest)
    if found := _KEY.match(presented):
        return _by_key(deps, found[2], digest)
    if _HEX.match(presented):
        return _by_key(deps, presented[:8], digest)
    raise NotAuthenticated(REFUSED)


def _by_key(deps: Deps, lookup: str, digest: str) -> Principal:
    def load(tx: Tx) -> tuple[Key, User, Account] | None:
        key = tx.people.find_key(lookup)
        if key is None:
            return None
        return key, tx.people.get_user(key.user_id), tx.people.get_account(key.account_id)

    found = deps.store.read(load)
    now = deps.clock.utc_now()
    if found is None or not hmac.compare_digest(found[0].secret_hash, digest):
        raise NotAuthenticated(REFUSED)
    key, user, account = found
    late = key.expires_at is not None and key.expires_at <= now
    if late or key.revoked_at is not None:
        raise NotAuthenticated(REFUSED)
    return _principal(user, account, right_of(user.role, key.scopes), key_id=key.id)


def _by_session(deps: Deps, session_id: str, digest: str) -> Principal:
    def load(tx: Tx) -> tuple[bool, User, Account] | None:
        one = tx.people.find_session(session_id)
        if one is None or not hmac.compare_digest(one.secret_hash, digest):
            return None
        live = one.revoked_at is None and one.expires_at > now
        return live, tx.people.get_user(one.user_id), tx.people.get_account(one.account_id)

    now = deps.clock.utc_now()
    found = deps.store.read(load)
    if found is None or not found[0]:
        raise NotAuthenticated(REFUSED)
    _, user, account = found
    return _principal(user, account, right_of(user.role, ("admin",)), session_id=session_id)


def _by_job(deps: Deps, attempt_id: str, presented: str) -> Principal:
    def load(tx: Tx) -> Principal:
        one = tx.attempts.get(attempt_id)
        account = tx.people.get_account(one.account_id)
        proven = deps.secrets.matches(presented, one.job_token_hash)
        if not proven or not one.live or account.disabled_at is not None:
            raise NotAuthenticated(REFUSED)
        return Principal(
            account.id, None, Right.WRITE, job_id=one.job_id, attempt_id=one.id,
            username="job", rate_limit=account.rate_limit,
        )  # fmt: skip

    try:
        return deps.store.read(load)
    except NotFound as error:
        raise NotAuthenticated(REFUSED) from error


def _principal(
    user: User,
    account: Account,
    right: Right,
    key_id: str | None = None,
    session_id: str | None = None,
) -> Principal:
    if user.disabled_at is not None or account.disabled_at is not None:
        raise NotAuthenticated(REFUSED)
    return Principal(
        account.id, user.id, right, user.operator, key_id, session_id,
        username=user.username, rate_limit=account.rate_limit,
    )  # fmt: skip


def _draw(deps: Deps, prefix: str) -> tuple[str, str]:
    """Return (lookup, secret): 256 bits of which 32 are the lookup of a prefixless key."""
    if not prefix:
        secret = hashlib.sha256(deps.ids.token(32).encode()).hexdigest()
        return secret[:8], secret
    lookup = hashlib.sha256(deps.ids.token(32).encode()).hexdigest()[:8]
    return lookup, f"{prefix}{lookup}_{deps.ids.token(32)}"


def _check(wanted: NewKey) -> None:
    if not 1 <= len(wanted.name) <= 100 or not wanted.name.isprintable():
        raise InvalidInput("name must be 1 to 100 printable characters.", field="name")
    if not wanted.scopes or not set(wanted.scopes) <= set(SCOPES):
        raise InvalidInput(f"scopes are some of {', '.join(SCOPES)}.", field="scopes")
    if wanted.prefix not in PREFIXES:
        raise InvalidInput("prefix must be ts_, mdlm_ or empty.", field="prefix")
    days, limit = wanted.expires_in_days, wanted.spend_limit_ucredits
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"expires_in_days must be 1 to {MAX_DAYS}.", field="expires_in_days")
    if limit is not None and not 0 <= limit < 2**63:
        raise InvalidInput(
            "spend_limit_ucredits must be a 64-bit integer from 0.", field="spend_limit_ucredits"
        )


def _insert(tx: Tx, principal: Principal, made: Key, now: datetime) -> bool:
    tx.ledger.lock(principal.account_id)
    _check_mint(tx, principal, made)
    if tx.people.find_key(made.lookup) is not None:
        return False
    live = [k for k in tx.people.keys(made.account_id) if k.revoked_at is None]
    if len(live) >= MAX_KEYS:
        raise Conflict(f"An account may have {MAX_KEYS} keys; revoke one that is not used.")
    tx.people.insert_key(made)
    audit.line(tx, principal, made.account_id, "key.create", made.id, now, scopes=list(made.scopes))
    return True


def _check_mint(tx: Tx, principal: Principal, key: Key) -> None:
    """A caller never gets hold of a key that may do more than itself."""
    user = tx.people.get_user(key.user_id, principal.account_id)
    if right_of(user.role, key.scopes) > principal.right:
        raise NotAllowed(f"This caller has {principal.right.name.lower()} rights only.")
    if principal.key_id is None:
        return
    mine = tx.people.get_key(principal.key_id, principal.account_id)
    if mine.spend_limit_ucredits is not None:
        raise NotAllowed("A key with a spending limit cannot make or rotate other keys.")
    if mine.expires_at is not None and (key.expires_at is None or key.expires_at > mine.expires_at):
        raise NotAllowed("A key that expires cannot make or rotate one that lives longer.")


def _visible(tx: Tx, principal: Principal, key_id: str) -> Key:
    key = tx.people.get_key(key_id, principal.account_id)
    if key.user_id != principal.user_id and principal.right < Right.ADMIN:
        raise NotFound("There is no key with that id.")
    return key


def _person(principal: Principal) -> str:
    if principal.user_id is None:
        raise NotAllowed("Only a person has API keys.")
    return principal.user_id
