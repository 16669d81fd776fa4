"""Accounts, users, keys, sessions, logins to registries."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Table

from trainshed.store.tables.base import blob, metadata, number, text

accounts = Table(
    "accounts",
    metadata,
    text("id", key=True),
    text("name"),
    number("created_at"),
    number("disabled_at", null=True),
    Column("weight", Float(53), nullable=False),
    number("quota_bytes", null=True),
    text("rate_limit"),
    text("plan"),
    number("renews_at", null=True),
)
Index("ix_accounts_renews", accounts.c.renews_at)
Index("uq_accounts_name", accounts.c.name, unique=True)

users = Table(
    "users",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("username"),
    text("username_folded"),
    text("password_hash"),
    text("role"),
    number("operator"),
    number("created_at"),
    number("disabled_at", null=True),
    text("email"),
    text("first_name"),
    text("surname"),
)
Index("uq_users_username", users.c.username_folded, unique=True)
Index("ix_users_account", users.c.account_id)

keys = Table(
    "keys",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("user_id", to="users.id"),
    text("name"),
    text("prefix"),
    text("lookup"),
    text("secret_hash"),
    text("scopes"),
    number("created_at"),
    number("expires_at", null=True),
    number("spend_limit_ucredits", null=True),
    number("last_used_at", null=True),
    number("revoked_at", null=True),
)
Index("uq_keys_lookup", keys.c.lookup, unique=True)
Index("ix_keys_account", keys.c.account_id)

sessions = Table(
    "sessions",
    metadata,
    text("id", key=True),
    text("account_id", to="accounts.id"),
    text("user_id", to="users.id"),
    text("secret_hash"),
    number("created_at"),
    number("expires_at"),
    number("revoked_at", null=True),
)
Index("ix_sessions_user", sessions.c.user_id)

registry_logins = Table(
    "registry_logins",
    metadata,
    text("account_id", key=True, to="accounts.id"),
    text("registry", key=True),
    text("username"),
    blob("sealed"),
    number("updated_at"),
    sqlite_with_rowid=False,
)
