"""Who may do what, and what it costs: users, accounts, keys, credits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from trainshed_client.api.group import Group, items, pages, part
from trainshed_client.decode import decode
from trainshed_client.models import Account, Balance, Entry, Hold, Key, User
from trainshed_client.transport import clean


class Users(Group):
    """The users of the caller's account; operators see all."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[User]:
        """Yield the users, at most ``limit``. Needs an admin's right."""
        return pages(self._transport, User, "/v1/users", limit=limit, sized=False)

    async def create(
        self, username: str, password: str, *, role: str, account_id: str | None = None
    ) -> User:
        """Make a user. ``account_id`` needs an operator.

        Raises:
            Conflict: the name is taken.
        """
        body = clean(
            {"username": username, "password": password, "role": role, "account_id": account_id}
        )
        return decode(
            User, await self._transport.call("POST", "/v1/users", body=body, creates=True)
        )

    async def update(
        self,
        user_id: str,
        *,
        role: str | None = None,
        disabled: bool | None = None,
        operator: bool | None = None,
    ) -> User:
        """Change what is given. ``operator`` needs an operator."""
        values = {"role": role, "disabled": disabled, "operator": operator}
        body = {k: v for k, v in values.items() if v is not None}
        path = f"/v1/users/{part(user_id)}"
        return decode(User, await self._transport.call("PATCH", path, body=body))

    async def set_password(self, user_id: str, password: str) -> None:
        """Give a user a new password; all sessions of that user end."""
        path = f"/v1/users/{part(user_id)}/password"
        await self._transport.call("POST", path, body={"password": password})


class Accounts(Group):
    """All accounts. Needs an operator."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[Account]:
        """Yield the accounts, at most ``limit``."""
        return pages(self._transport, Account, "/v1/accounts", limit=limit, sized=False)

    async def get(self, account_id: str) -> Account:
        """Return one account."""
        path = f"/v1/accounts/{part(account_id)}"
        return decode(Account, await self._transport.call("GET", path))

    async def create(
        self, name: str, *, quota_bytes: int | None = None, weight: float | None = None
    ) -> Account:
        """Make an account; ``weight`` is its fair share next to others'."""
        body = clean({"name": name, "quota_bytes": quota_bytes, "weight": weight})
        answer = await self._transport.call("POST", "/v1/accounts", body=body, creates=True)
        return decode(Account, answer)

    async def update(
        self,
        account_id: str,
        *,
        name: str | None = None,
        disabled: bool | None = None,
        quota_bytes: int | None = None,
        weight: float | None = None,
        plan: str | None = None,
    ) -> Account:
        """Change what is given; the runs of another board plan are there at once."""
        values = {
            "name": name,
            "disabled": disabled,
            "quota_bytes": quota_bytes,
            "weight": weight,
            "plan": plan,
        }
        body = {k: v for k, v in values.items() if v is not None}
        path = f"/v1/accounts/{part(account_id)}"
        return decode(Account, await self._transport.call("PATCH", path, body=body))

    async def grant(
        self,
        account_id: str,
        amount_ucredits: int,
        *,
        unit: str = "credit",
        memo: str | None = None,
        idempotency_key: str | None = None,
    ) -> Balance:
        """Add ``amount_ucredits`` (10⁶ are one credit; negative takes away) once, and only once.

        Give an ``idempotency_key`` of your own to make the grant safe across runs of a script.
        """
        body = clean({"amount_ucredits": amount_ucredits, "unit": unit, "memo": memo})
        path = f"/v1/accounts/{part(account_id)}/grants"
        answer = await self._transport.call(
            "POST", path, body=body, creates=True, key=idempotency_key
        )
        return decode(Balance, answer)


class Keys(Group):
    """API keys of the caller's account."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[Key]:
        """Yield the keys, without their secrets, at most ``limit``."""
        return pages(self._transport, Key, "/v1/keys", limit=limit, sized=False)

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_days: int | None = None,
        spend_limit_ucredits: int | None = None,
        prefix: str | None = None,
    ) -> Key:
        """Make a key; ``secret`` of the answer is shown this once."""
        body = clean(
            {
                "name": name,
                "scopes": [*scopes] if scopes is not None else None,
                "expires_in_days": expires_in_days,
                "spend_limit_ucredits": spend_limit_ucredits,
                "prefix": prefix,
            }
        )
        return decode(Key, await self._transport.call("POST", "/v1/keys", body=body, creates=True))

    async def revoke(self, key_id: str) -> None:
        """End a key at once."""
        await self._transport.call("DELETE", f"/v1/keys/{part(key_id)}")

    async def rotate(self, key_id: str) -> Key:
        """Give a key a new secret, in the answer; the old one dies."""
        return decode(Key, await self._transport.call("POST", f"/v1/keys/{part(key_id)}/rotate"))


class Credits(Group):
    """What the caller's account has and where it went."""

    async def balances(self) -> tuple[Balance, ...]:
        """Return one balance per unit."""
        answer = await self._transport.call("GET", "/v1/credits")
        found: Any = answer.get("balances") if isinstance(answer, dict) else None
        return items(Balance, {"items": found})

    def entries(self, *, limit: int | None = None) -> AsyncIterator[Entry]:
        """Yield the ledger's entries, at most ``limit``."""
        return pages(self._transport, Entry, "/v1/credits/entries", limit=limit)

    def holds(self, *, limit: int | None = None) -> AsyncIterator[Hold]:
        """Yield what is set aside for Jobs that have not ended."""
        return pages(self._transport, Hold, "/v1/credits/holds", limit=limit, sized=False)
