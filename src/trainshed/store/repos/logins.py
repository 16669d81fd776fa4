"""Accounts' logins to container registries."""

from __future__ import annotations

from trainshed.domain.image import Login
from trainshed.store import sql
from trainshed.store.link import Link, Row
from trainshed.store.mapping import clean, micros, moment
from trainshed.store.tables import registry_logins as logins

_PUT = sql.insert(
    logins,
    tail="ON CONFLICT (account_id, registry) DO UPDATE SET username = excluded.username,"
    " sealed = excluded.sealed, updated_at = excluded.updated_at",
)
_FIND = sql.select(logins, "WHERE account_id = ? AND registry = ?")
_OF_ACCOUNT = sql.select(logins, "WHERE account_id = ? ORDER BY registry")


class SqlLogins:
    """``ports.store.Logins`` on one Link."""

    def __init__(self, link: Link) -> None:
        """Speak through ``link``."""
        self._link = link

    def put(self, login: Login) -> None:
        """Insert or replace."""
        row = (
            login.account_id, login.registry, clean(login.username), login.sealed,
            micros(login.updated_at),
        )  # fmt: skip
        self._link.run(_PUT, row)

    def find(self, account_id: str, registry: str) -> Login | None:
        """Return it, or None."""
        row = self._link.one(_FIND, (account_id, registry))
        return None if row is None else _login(row)

    def of_account(self, account_id: str) -> list[Login]:
        """By registry."""
        return [_login(row) for row in self._link.all(_OF_ACCOUNT, (account_id,))]

    def delete(self, account_id: str, registry: str) -> bool:
        """False if there was none."""
        query = "DELETE FROM registry_logins WHERE account_id = ? AND registry = ?"
        return bool(self._link.run(query, (account_id, registry)))


def _login(row: Row) -> Login:
    account_id, registry, username, sealed, updated_at = row
    return Login(account_id, registry, username, bytes(sealed), moment(updated_at))
