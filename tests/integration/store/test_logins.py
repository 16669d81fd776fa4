"""Logins to registries, on both engines: one for each account and registry."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.store.make import account, at

from trainshed.domain.image import Login
from trainshed.ports.store import Store


def test_put_replaces_and_accounts_are_apart(store: Store) -> None:
    one = account(store)
    two = account(store, name="two", id_="acc_two")
    first = Login(one, "ghcr.io", "ann", b"\x00sealed\xff", at(1))
    other = Login(two, "ghcr.io", "bob", b"other", at(2))
    changed = replace(first, username="eve", sealed=b"new", updated_at=at(3))
    for login in (first, other, changed, replace(first, registry="a.io")):
        store.write(lambda tx, login=login: tx.logins.put(login))  # type: ignore[misc]
    assert store.read(lambda tx: tx.logins.find(one, "ghcr.io")) == changed
    assert store.read(lambda tx: tx.logins.find(two, "ghcr.io")) == other
    found = store.read(lambda tx: tx.logins.of_account(one))
    assert [login.registry for login in found] == ["a.io", "ghcr.io"]
    assert found[0].sealed == b"\x00sealed\xff"
    assert store.write(lambda tx: tx.logins.delete(one, "ghcr.io"))
    assert not store.write(lambda tx: tx.logins.delete(one, "ghcr.io"))
    assert store.read(lambda tx: tx.logins.find(two, "ghcr.io")) == other
    assert store.verify() == []
