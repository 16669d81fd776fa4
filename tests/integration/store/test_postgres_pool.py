"""PostgreSQL hangs up on every connection (a restart, a firewall): the store goes on."""

from __future__ import annotations

import psycopg
import pytest
from tests.integration.store.make import account

from trainshed.domain.errors import Unavailable
from trainshed.store import postgres
from trainshed.store.engine import open_store
from trainshed.store.postgres import PgStore


def hang_up(url: str) -> int:
    """End all other connections to the database; return how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(found)


def test_rested_connections_are_asked_first(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PING_AFTER_S", 0.0)
    store = open_store(pg_url)
    assert isinstance(store, PgStore)
    account(store)
    assert hang_up(pg_url) > 0
    for _ in range(3):
        assert len(store.read(lambda tx: tx.people.accounts())) == 1
    store.write(lambda tx: tx.records.purge_remembered(tx.people.accounts()[0].created_at))
    store.close()


def test_busy_ones_fail_once_with_a_clear_word(pg_url: str) -> None:
    store = open_store(pg_url)
    account(store)
    store.read(lambda tx: tx.people.accounts())
    assert hang_up(pg_url) > 0
    with pytest.raises(Unavailable) as caught:
        store.read(lambda tx: tx.people.accounts())
    assert caught.value.extra["retry_after_s"]
    assert len(store.read(lambda tx: tx.people.accounts())) == 1
    store.close()
