"""People, keys and money in native words."""

from __future__ import annotations

from collections.abc import Sequence

from trainshed.dialects.native import answers_people as answers
from trainshed.domain import people
from trainshed.domain.ledger import Balance, Entry, Hold
from trainshed.ports.records import AuditEntry
from trainshed.ports.views import KeyView, LoginView
from trainshed.usecases.accounts import AccountView


def to_user(user: people.User) -> answers.User:
    """Return a person."""
    return answers.User(
        id=user.id,
        username=user.username,
        role=user.role,
        operator=user.operator,
        account_id=user.account_id,
        created_at=user.created_at,
        disabled_at=user.disabled_at,
    )


def to_new_user(user: people.User, notes: Sequence[str]) -> answers.NewUser:
    """Return a person just added."""
    return answers.NewUser(**to_user(user).model_dump(), notes=list(notes))


def to_account(view: AccountView) -> answers.Account:
    """Return an account."""
    one = view.account
    return answers.Account(
        id=one.id,
        name=one.name,
        created_at=one.created_at,
        disabled_at=one.disabled_at,
        weight=one.weight,
        quota_bytes=one.quota_bytes,
        used_bytes=view.used_bytes,
        plan=one.plan,
        renews_at=one.renews_at,
    )


def to_login(view: LoginView, account: AccountView) -> answers.Login:
    """Return a new session."""
    return answers.Login(
        token=view.token,
        expires_at=view.expires_at,
        user=to_user(view.user),
        account=to_account(account),
    )


def to_key(view: KeyView) -> answers.Key:
    """Return a key without its secret."""
    key = view.key
    return answers.Key(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=list(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        spend_limit_ucredits=key.spend_limit_ucredits,
        last_used_at=key.last_used_at,
    )


def to_new_key(view: KeyView) -> answers.NewKey:
    """Return a key with the secret that is shown this once."""
    return answers.NewKey(**to_key(view).model_dump(), secret=view.secret or "")


def to_balance(one: Balance) -> answers.Balance:
    """Return money of one unit."""
    return answers.Balance(
        unit=one.unit.value,
        balance_ucredits=one.balance,
        held_ucredits=one.held,
        available_ucredits=one.available,
    )


def to_entry(row: tuple[int, int, Entry]) -> answers.Entry:
    """Return a line of the ledger."""
    seq, after, one = row
    return answers.Entry(
        seq=seq,
        kind=one.kind,
        amount_ucredits=one.amount,
        balance_after_ucredits=after,
        unit=one.unit.value,
        job_id=one.job_id,
        attempt_id=one.attempt_id,
        memo=one.memo,
        created_at=one.created_at,
    )


def to_hold(one: Hold) -> answers.Hold:
    """Return an open hold."""
    return answers.Hold(
        id=one.id,
        job_id=one.job_id,
        amount_ucredits=one.amount,
        unit=one.unit.value,
        created_at=one.created_at,
    )


def to_line(one: AuditEntry) -> answers.AuditLine:
    """Return a line of the audit log."""
    return answers.AuditLine(
        seq=one.seq,
        at=one.at,
        actor=one.actor,
        action=one.action,
        target=one.target,
        data=dict(one.data),
        chain=one.chain,
    )
