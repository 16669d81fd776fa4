"""Accounts pay, users act, keys speak for users. Right = min(role, scope) (D16)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from trainshed.domain.errors import NotAllowed


class Right(IntEnum):
    """What a caller may do inside its account, in order; equals role and scope levels."""

    READ = 1
    WRITE = 2
    ADMIN = 3


ROLES = {"viewer": Right.READ, "member": Right.WRITE, "admin": Right.ADMIN}
SCOPES = {"read": Right.READ, "write": Right.WRITE, "admin": Right.ADMIN}


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant and payer. ``weight`` scales its fair share; ``quota_bytes`` bounds its storage.

    ``plan``: the name of its board plan, '' for the installation's first; ``renews_at``: when the
    plan gives runs next, None for never.
    """

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None = None
    weight: float = 1.0
    quota_bytes: int | None = None
    rate_limit: str = "standard"
    plan: str = ""
    renews_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person of one Account. ``operator`` runs the whole installation. The names are for show,
    as the person wrote them.
    """

    id: str
    account_id: str
    username: str
    password_hash: str
    role: str
    operator: bool
    created_at: datetime
    disabled_at: datetime | None = None
    email: str = ""
    first_name: str = ""
    surname: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key: found by ``lookup``, proven by ``secret_hash``; the secret itself is not kept."""

    id: str
    account_id: str
    user_id: str
    name: str
    prefix: str
    lookup: str
    secret_hash: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    spend_limit_ucredits: int | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A login. ``secret_hash`` as with keys; dies at logout, password change or expiry."""

    id: str
    account_id: str
    user_id: str
    secret_hash: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. ``job_id`` is set for a job token, which reaches that job alone."""

    account_id: str
    user_id: str | None
    right: Right
    operator: bool = False
    key_id: str | None = None
    session_id: str | None = None
    job_id: str | None = None
    attempt_id: str | None = None
    username: str = ""
    rate_limit: str = "standard"

    @property
    def id(self) -> str:
        """A stable name for limits and the audit log."""
        return self.key_id or self.session_id or self.attempt_id or self.user_id or self.account_id

    def need(self, right: Right) -> None:
        """Raise NotAllowed unless the caller has at least ``right``."""
        if self.right < right:
            raise NotAllowed(f"This needs {right.name.lower()} rights in the account.")

    def need_operator(self, right: Right = Right.ADMIN) -> None:
        """Raise NotAllowed unless the caller operates the installation, with that right."""
        if not self.operator:
            raise NotAllowed("This needs the operator of the installation.")
        self.need(right)


def right_of(role: str, scopes: tuple[str, ...]) -> Right:
    """Return min(role, strongest scope)."""
    return min(ROLES[role], max((SCOPES[s] for s in scopes), default=Right.READ))
