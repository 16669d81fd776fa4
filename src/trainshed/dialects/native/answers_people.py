"""The wire shapes of what goes out about people, keys and money; these fields and no others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class User(BaseModel):
    """A person."""

    id: str
    username: str
    role: str
    operator: bool
    account_id: str
    created_at: datetime
    disabled_at: datetime | None


class NewUser(User):
    """A person just added."""

    notes: list[str]


class Account(BaseModel):
    """A tenant and payer."""

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None
    weight: float
    quota_bytes: int | None
    used_bytes: int
    plan: str
    renews_at: datetime | None


class Login(BaseModel):
    """A session; the token is shown this once."""

    token: str = Field(repr=False)
    expires_at: datetime
    user: User
    account: Account


class Me(BaseModel):
    """Who is calling."""

    user: User
    account: Account
    right: str
    operator: bool
    key_id: str | None


class Key(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    spend_limit_ucredits: int | None
    last_used_at: datetime | None


class NewKey(Key):
    """A key just made or rotated; the secret is shown this once."""

    secret: str = Field(repr=False)


class Balance(BaseModel):
    """Money of one unit."""

    unit: str
    balance_ucredits: int
    held_ucredits: int
    available_ucredits: int


class Balances(BaseModel):
    """Money of every unit."""

    balances: list[Balance]


class Entry(BaseModel):
    """One line of the ledger."""

    seq: int
    kind: str
    amount_ucredits: int
    balance_after_ucredits: int
    unit: str
    job_id: str | None
    attempt_id: str | None
    memo: str
    created_at: datetime


class Hold(BaseModel):
    """Credits set aside for a Job."""

    id: str
    job_id: str
    amount_ucredits: int
    unit: str
    created_at: datetime


class AuditLine(BaseModel):
    """Who did what; ``chain`` binds it to the line before."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    data: dict[str, Any]
    chain: str


class Registry(BaseModel):
    """A login to a container registry; its password is never shown."""

    registry: str
    username: str
    updated_at: datetime
