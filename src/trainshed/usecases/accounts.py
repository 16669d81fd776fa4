"""Accounts, people and their passwords, and credits given. Right = min(role, scope) (D16)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime

from trainshed.domain.errors import Conflict, InvalidInput, NotAllowed
from trainshed.domain.ledger import Balance, Entry, Hold, Unit
from trainshed.domain.people import ROLES, Account, Principal, Right, User
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases import audit
from trainshed.usecases.grants import begin_plan, grant_in, plan_named
from trainshed.usecases.keys import end_logins

ADMIN = "admin"
LOCAL = "local"
MIN_PASSWORD = 12
MAX_PASSWORD = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z")

#: What is tried first against every server; all are long enough to pass the length rule.
_COMMON = frozenset(
    {
        "123456789012", "1234567890123", "password1234", "password12345", "passwordpassword",
        "qwertyuiop12", "qwertyuiop123", "administrator", "adminadminadmin", "letmeinletmein",
        "iloveyouiloveyou", "changemechangeme", "welcome12345", "qwerty123456", "abcdefghijkl",
        "abc123456789", "trainshed123", "trainshedtrainshed", "correcthorsebatterystaple",
        "0123456789ab", "1q2w3e4r5t6y", "q1w2e3r4t5y6", "zaq12wsxcde3", "monkeymonkey",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AccountView:
    """An Account and what it stores."""

    account: Account
    used_bytes: int


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The installation's first account; ``made`` is False when it was there before."""

    account: Account
    user: User
    principal: Principal
    made: bool


def check_password(password: str, username: str) -> str:
    """Return the password in NFC if it may be used.

    Raises:
        InvalidInput: too short, too long, or one that is tried first.
    """
    plain = unicodedata.normalize("NFC", password)
    folded = plain.casefold()
    if not MIN_PASSWORD <= len(plain) <= MAX_PASSWORD:
        raise InvalidInput(
            f"A password needs {MIN_PASSWORD} to {MAX_PASSWORD} characters.", field="password"
        )
    if folded in _COMMON or len(set(folded)) < 4 or folded == username.casefold():
        raise InvalidInput("That password is easily guessed; use another.", field="password")
    return plain


def check_name(name: str, field: str = "username") -> str:
    """Return ``name`` if it is plain enough to be shown, logged and typed.

    Raises:
        InvalidInput: it is not.
    """
    if not _NAME.match(name):
        raise InvalidInput(
            f"{field} must be 1 to 64 letters, digits or . _ @ + -, starting with a letter"
            " or digit.",
            field=field,
        )
    return name


def bootstrap_admin(deps: Deps, password: str) -> FirstStart:
    """Make account and user ``admin`` with the first grant, and the built-in account ``local``,
    both with their plan's runs.

    Calling it again changes nothing.
    """
    hashed = deps.secrets.hash_password(check_password(password, ADMIN))
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")
    runs = [deps.ids.new("transaction") for _ in (ADMIN, LOCAL)]
    account = Account(deps.ids.new("account"), ADMIN, now)
    local = Account(deps.ids.new("account"), LOCAL, now)
    user = User(deps.ids.new("user"), account.id, ADMIN, hashed, "admin", True, now)
    amount = deps.policy.admin_grant_ucredits

    def apply(tx: Tx) -> tuple[Account, User, bool]:
        known = tx.people.find_user(ADMIN)
        if known is not None:
            return tx.people.get_account(known.account_id), known, False
        for one in (account, local):
            tx.people.insert_account(one)
        tx.people.insert_user(user)
        audit.line(tx, "bootstrap", account.id, "user.create", user.id, now, role="admin")
        if amount:
            grant_in(tx, "bootstrap", account.id, amount, Unit.CREDIT, "First start", txn, now)
        for one, each in zip((account, local), runs, strict=True):
            begin_plan(tx, deps.policy, one.id, each, now)
        return account, user, True

    found, admin, made = deps.store.write(apply)
    principal = Principal(found.id, admin.id, Right.ADMIN, admin.operator, username=ADMIN)
    return FirstStart(found, admin, principal, made)


def create_account(
    deps: Deps, principal: Principal, name: str, quota_bytes: int | None, weight: float
) -> AccountView:
    """Make a tenant without people or credits, with the first plan's runs. Raises Conflict if the
    name is taken.
    """
    principal.need_operator()
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")
    made = Account(
        deps.ids.new("account"), check_name(name, "name"), now, None, _weight(weight), quota_bytes
    )

    def apply(tx: Tx) -> Account:
        _free_name(tx, name)
        tx.people.insert_account(made)
        begun = begin_plan(tx, deps.policy, made.id, txn, now)
        audit.line(tx, principal, made.id, "account.create", made.id, now, name=name)
        return begun

    return AccountView(deps.store.write(apply), 0)


def list_accounts(deps: Deps, principal: Principal) -> list[AccountView]:
    """Return every account, for the operator."""
    principal.need_operator()
    return deps.store.read(
        lambda tx: [AccountView(a, tx.files.used_bytes(a.id)) for a in tx.people.accounts()]
    )


def get_account(deps: Deps, principal: Principal, account_id: str) -> AccountView:
    """Return the own account, or any for the operator."""
    if account_id != principal.account_id:
        principal.need_operator()
    return deps.store.read(
        lambda tx: AccountView(tx.people.get_account(account_id), tx.files.used_bytes(account_id))
    )


def update_account(
    deps: Deps,
    principal: Principal,
    account_id: str,
    name: str | None = None,
    disabled: bool | None = None,
    quota_bytes: int | None = None,
    weight: float | None = None,
    plan: str | None = None,
) -> AccountView:
    """Change what is given. A disabled account's keys and sessions are refused at once; another
    plan's runs are there at once.
    """
    principal.need_operator()
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")
    if plan is not None:
        plan_named(deps.policy, plan)
    if disabled and account_id == principal.account_id:
        raise Conflict("You cannot disable the account you are working in.")

    def apply(tx: Tx) -> AccountView:
        tx.ledger.lock(account_id)
        old = tx.people.get_account(account_id)
        if name is not None and name != old.name:
            _free_name(tx, check_name(name, "name"))
        new = replace(
            old,
            name=old.name if name is None else name,
            disabled_at=_since(old.disabled_at, disabled, now),
            quota_bytes=old.quota_bytes if quota_bytes is None else quota_bytes,
            weight=old.weight if weight is None else _weight(weight),
        )
        if plan is not None:
            new = replace(new, plan=plan, renews_at=None)
        tx.people.save_account(new)
        if plan is not None:
            new = begin_plan(tx, deps.policy, account_id, txn, now)
        audit.line(tx, principal, account_id, "account.update", account_id, now)
        return AccountView(new, tx.files.used_bytes(account_id))

    return deps.store.write(apply)


def grant(
    deps: Deps, principal: Principal, account_id: str, amount: int, unit: Unit, memo: str
) -> Balance:
    """Give credits, as a visible entry. Raises InvalidInput: not a positive 64-bit integer."""
    principal.need_operator()
    now, txn = deps.clock.utc_now(), deps.ids.new("transaction")

    def apply(tx: Tx) -> Balance:
        tx.people.get_account(account_id)
        grant_in(tx, principal, account_id, amount, unit, memo, txn, now)
        return tx.ledger.balance(account_id, unit)

    balance = deps.store.write(apply)
    deps.bus.notify("events")
    return balance


def balances(deps: Deps, principal: Principal) -> list[Balance]:
    """Return the account's balance in every unit."""
    return deps.store.read(lambda tx: [tx.ledger.balance(principal.account_id, u) for u in Unit])


def entries(
    deps: Deps, principal: Principal, before_seq: int | None, limit: int
) -> list[tuple[int, int, Entry]]:
    """Return (seq, balance after, entry), newest first."""
    return deps.store.read(
        lambda tx: tx.ledger.entries(principal.account_id, None, before_seq, limit)
    )


def holds(deps: Deps, principal: Principal) -> list[Hold]:
    """Return the open holds."""
    return deps.store.read(lambda tx: tx.ledger.holds(principal.account_id, True))


def create_user(
    deps: Deps,
    principal: Principal,
    username: str,
    password: str,
    role: str,
    account_id: str | None = None,
) -> User:
    """Add a person to the own account, or to any as the operator.

    Raises:
        Conflict: the name is taken. InvalidInput: a bad name, role or password.
    """
    principal.need(Right.ADMIN)
    home = account_id or principal.account_id
    if home != principal.account_id:
        principal.need_operator()
    now = deps.clock.utc_now()
    hashed = deps.secrets.hash_password(check_password(password, username))
    made = User(deps.ids.new("user"), home, check_name(username), hashed, _role(role), False, now)

    def apply(tx: Tx) -> User:
        tx.people.get_account(home)
        _free_name(tx, username, people_only=True)
        tx.people.insert_user(made)
        audit.line(tx, principal, home, "user.create", made.id, now, role=role)
        return made

    return deps.store.write(apply)


def list_users(deps: Deps, principal: Principal) -> list[User]:
    """Return the account's people."""
    principal.need(Right.ADMIN)
    return deps.store.read(lambda tx: tx.people.users(principal.account_id))


def update_user(
    deps: Deps,
    principal: Principal,
    user_id: str,
    role: str | None = None,
    disabled: bool | None = None,
    operator: bool | None = None,
) -> User:
    """Change what is given. Only an operator may touch an operator or make one.

    Raises:
        NotFound, NotAllowed. Conflict: it would leave nobody to run the installation.
    """
    principal.need(Right.ADMIN)
    if operator is not None:
        principal.need_operator()
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> User:
        tx.ledger.lock(_reach(tx, principal, user_id).account_id)
        old = _reach(tx, principal, user_id)
        new = replace(
            old,
            role=old.role if role is None else _role(role),
            disabled_at=_since(old.disabled_at, disabled, now),
            operator=old.operator if operator is None else operator,
        )
        _keep_one_operator(tx, old, new)
        tx.people.save_user(new)
        if new.disabled_at is not None:
            tx.people.revoke_sessions(user_id, now)
        audit.line(
            tx, principal, old.account_id, "user.update", user_id, now,
            role=new.role, operator=new.operator, disabled=new.disabled_at is not None,
        )  # fmt: skip
        return new

    return deps.store.write(apply)


def reset_password(deps: Deps, principal: Principal, user_id: str, password: str) -> None:
    """Set another's password and end all their sessions."""
    principal.need(Right.ADMIN)
    user = deps.store.read(lambda tx: _reach(tx, principal, user_id))
    _set_password(deps, principal, user, password, "user.password_reset")


def change_password(deps: Deps, principal: Principal, old: str, new: str) -> None:
    """Change the own password and end all sessions, this one too.

    Raises:
        NotAllowed: the old password is wrong. InvalidInput: the new one will not do.
    """
    if principal.user_id is None:
        raise NotAllowed("Only a person has a password.")
    user_id = principal.user_id
    user = deps.store.read(lambda tx: tx.people.get_user(user_id, principal.account_id))
    if not deps.secrets.check_password(unicodedata.normalize("NFC", old), user.password_hash):
        raise NotAllowed("The old password is wrong.")
    _set_password(deps, principal, user, new, "user.password_change")


def _set_password(deps: Deps, principal: Principal, user: User, password: str, action: str) -> None:
    hashed = deps.secrets.hash_password(check_password(password, user.username))
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        tx.ledger.lock(user.account_id)
        fresh = tx.people.get_user(user.id, user.account_id)
        tx.people.save_user(replace(fresh, password_hash=hashed))
        tx.people.revoke_sessions(user.id, now)
        end_logins(tx, user, now)
        audit.line(tx, principal, user.account_id, action, user.id, now)

    deps.store.write(apply)


def _reach(tx: Tx, principal: Principal, user_id: str) -> User:
    """Return a user the caller may administer."""
    user = tx.people.get_user(user_id, None if principal.operator else principal.account_id)
    if user.operator or user.account_id != principal.account_id:
        principal.need_operator()
    return user


def _keep_one_operator(tx: Tx, old: User, new: User) -> None:
    able = new.operator and new.disabled_at is None and new.role == "admin"
    if not old.operator or able:
        return
    others = [u for u in tx.people.users(None) if u.id != old.id]
    if not any(u.operator and u.disabled_at is None and u.role == "admin" for u in others):
        raise Conflict("This is the last operator; make another one first.")


def _free_name(tx: Tx, name: str, people_only: bool = False) -> None:
    if tx.people.find_user(name) is not None or (
        not people_only and tx.people.find_account(name) is not None
    ):
        raise Conflict("That name is taken.", field="name")


def _role(role: str) -> str:
    if role not in ROLES:
        raise InvalidInput(f"role must be one of {', '.join(ROLES)}.", field="role")
    return role


def _weight(weight: float) -> float:
    if not 0.001 <= weight <= 1000:
        raise InvalidInput("weight must be 0.001 to 1000.", field="weight")
    return weight


def _since(old: datetime | None, wanted: bool | None, now: datetime) -> datetime | None:
    if wanted is None:
        return old
    return (old or now) if wanted else None
