"""The account: who, credits, API keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from middleman.api.base import Family, at, listed, objects, paged, value
from middleman.models import ApiKey, CreditBalance, CreditPackage, Transaction, User, read


class Account(Family):
    """Who is calling, what it has, and its keys."""

    def get_user(self) -> User:
        """Return who the key belongs to."""
        return read(User, self._get("/users/me"))

    def get_balance(self) -> CreditBalance:
        """Return the account's credits."""
        return read(CreditBalance, self._get("/billing/balance"))

    def get_packages(self) -> list[CreditPackage]:
        """Return what credits cost."""
        return objects(CreditPackage, listed(self._get("/billing/packages"), "packages"))

    def get_transactions(self, limit: int = 20, offset: int = 0) -> tuple[list[Transaction], int]:
        """Return a page of the credits' movements, newest first, and how many there are."""
        found, total = paged(self._get("/billing/transactions", limit=limit, offset=offset))
        return cast("list[Transaction]", found), total

    def list_api_keys(self) -> list[ApiKey]:
        """Return the account's keys."""
        return objects(ApiKey, listed(self._get("/api-keys")))

    def create_api_key(
        self, name: str, scopes: Sequence[str] | None = None, expires_in_days: int | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; return what lists will show of it, and the key, which is told only now.

        Args:
            name: What lists call it.
            scopes: What it may: ``read``, ``write``, ``admin``. Read and write if None.
            expires_in_days: When it ends; never if None.
        """
        body = {
            "name": name,
            "scopes": list(scopes or ("read", "write")),
            "expires_in_days": expires_in_days,
        }
        answer = self._create("/api-keys", body)
        key = value(answer, "key", str)
        del answer["key"]
        return read(ApiKey, answer), key

    def revoke_api_key(self, key_id: str) -> bool:
        """End a key at once; ``key_id`` may also be its prefix. Return whether it is ended."""
        answer = self._transport.call("DELETE", at("/api-keys", key_id))
        return value(answer, "revoked", bool)
