"""What the store keeps of logins to container registries."""

from __future__ import annotations

from typing import Protocol

from trainshed.domain.image import Login


class Logins(Protocol):
    """Accounts' logins to container registries."""

    def put(self, login: Login) -> None:
        """Insert, or replace that of the same account and registry."""

    def find(self, account_id: str, registry: str) -> Login | None: ...
    def of_account(self, account_id: str) -> list[Login]:
        """By registry."""

    def delete(self, account_id: str, registry: str) -> bool:
        """False if there was none."""
