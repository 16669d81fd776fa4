"""Accounts, users, keys, sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Table

from trainshed.domain.errors import Conflict, NotFound
from trainshed.domain.people import Account, Key, Session, User
from trainshed.store import sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import (
    account_from,
    account_row,
    key_from,
    key_row,
    micros,
    session_from,
    session_row,
    user_from,
    user_row,
)
from trainshed.store.tables import accounts, keys, sessions, users


def _once(table: Table) -> str:
    return sql.insert(table, tail="ON CONFLICT DO NOTHING")


def _save(table: Table) -> str:
    return sql.update(table, [c.name for c in table.columns if c.name != "id"], "WHERE id = ?")


_INSERT = {t.name: _once(t) for t in (accounts, users, keys, sessions)}
_SAVE = {t.name: _save(t) for t in (accounts, users, keys, sessions)}
_GET = {t.name: sql.select(t, "WHERE id = ?") for t in (accounts, users, keys, sessions)}
_KEY_BY_LOOKUP = sql.select(keys, "WHERE lookup = ?")
_USER_BY_NAME = sql.select(users, "WHERE username_folded = ?")
_DUE = sql.select(accounts, "WHERE renews_at <= ? ORDER BY renews_at, id LIMIT ?")
_WORD = {"accounts": "account", "users": "user", "keys": "key", "sessions": "session"}


class SqlPeople:
    """``ports.store.People`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def insert_account(self, account: Account) -> None:
        """Raises Conflict if the id or name is taken."""
        self._insert(accounts, account_row(account), "There is already an account with that name.")

    def get_account(self, account_id: str) -> Account:
        """Return it."""
        return account_from(self._get(accounts, account_id))

    def find_account(self, name: str) -> Account | None:
        """Return the account of that name."""
        row = self._link.one(sql.select(accounts, "WHERE name = ?"), (name,))
        return None if row is None else account_from(row)

    def save_account(self, account: Account) -> None:
        """Write every field."""
        self._save(accounts, account_row(account))

    def accounts(self) -> list[Account]:
        """All, oldest first."""
        rows = self._link.all(sql.select(accounts, "ORDER BY created_at, id"))
        return [account_from(r) for r in rows]

    def due(self, now: datetime, limit: int) -> list[Account]:
        """Whose plan gives runs by now."""
        rows = self._link.all(_DUE, (micros(now), limit))
        return [account_from(r) for r in rows]

    def insert_user(self, user: User) -> None:
        """Raises Conflict if the username is taken."""
        self._insert(users, user_row(user), "That username is taken.")

    def get_user(self, user_id: str, account_id: str | None = None) -> User:
        """Return the user, of that account if given."""
        return user_from(self._get(users, user_id, account_id))

    def find_user(self, username: str) -> User | None:
        """Find case-folded."""
        row = self._link.one(_USER_BY_NAME, (username.casefold(),))
        return None if row is None else user_from(row)

    def save_user(self, user: User) -> None:
        """Write every field."""
        self._save(users, user_row(user))

    def users(self, account_id: str | None) -> list[User]:
        """Oldest first; None means of all accounts."""
        scope, values = ("", ()) if account_id is None else ("WHERE account_id = ?", (account_id,))
        query = sql.select(users, scope, "ORDER BY created_at, id")
        return [user_from(r) for r in self._link.all(query, values)]

    def n_people(self) -> int:
        """Users that are not disabled."""
        return int(self._link.scalar("SELECT COUNT(*) FROM users WHERE disabled_at IS NULL"))

    def insert_key(self, key: Key) -> None:
        """Raises Conflict if the id or lookup is taken."""
        self._insert(keys, key_row(key), "There is already such a key.")

    def get_key(self, key_id: str, account_id: str | None = None) -> Key:
        """Return the key, of that account if given."""
        return key_from(self._get(keys, key_id, account_id))

    def find_key(self, lookup: str) -> Key | None:
        """Find by the public part."""
        row = self._link.one(_KEY_BY_LOOKUP, (lookup,))
        return None if row is None else key_from(row)

    def save_key(self, key: Key) -> None:
        """Write every field."""
        self._save(keys, key_row(key))

    def keys(self, account_id: str) -> list[Key]:
        """Oldest first."""
        query = sql.select(keys, "WHERE account_id = ? ORDER BY created_at, id")
        return [key_from(r) for r in self._link.all(query, (account_id,))]

    def insert_session(self, session: Session) -> None:
        """Raises Conflict if the id is taken."""
        self._insert(sessions, session_row(session), "There is already such a session.")

    def find_session(self, session_id: str) -> Session | None:
        """Find by id."""
        row = self._link.one(_GET["sessions"], (session_id,))
        return None if row is None else session_from(row)

    def save_session(self, session: Session) -> None:
        """Write every field."""
        self._save(sessions, session_row(session))

    def revoke_sessions(self, user_id: str, at: datetime) -> None:
        """End all logins of a user."""
        self._link.run(
            "UPDATE sessions SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL",
            (micros(at), user_id),
        )

    def _insert(self, table: Table, row: Row, taken: str) -> None:
        if not self._link.run(_INSERT[table.name], row):
            raise Conflict(taken)

    def _get(self, table: Table, id_: str, account_id: str | None = None) -> Row:
        row = self._link.one(_GET[table.name], (id_,))
        if row is None or (account_id is not None and row[1] != account_id):
            raise NotFound(f"There is no {_WORD[table.name]} with that id.")
        return row

    def _save(self, table: Table, row: Sequence[object]) -> None:
        if not self._link.run(_SAVE[table.name], (*row[1:], row[0])):
            raise NotFound(f"There is no {_WORD[table.name]} with that id.")
