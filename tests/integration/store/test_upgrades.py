"""A database of every released schema is brought to the newest, and nothing in it is lost (G22)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, inspect, make_url
from tests.support.old_database import DATA, rows, statements

from trainshed.domain.ledger import Unit
from trainshed.domain.states import JobState
from trainshed.ports.store import JobFilter
from trainshed.store import migrate
from trainshed.store.engine import open_store, sqlite_path
from trainshed.store.sqlite import connect

#: Schema -> its frozen rows. A released schema's file is added here, and none ever leaves.
RELEASED = {"0001": DATA / "r0001.sql"}
#: Columns that a later migration removed or rewrote on purpose: (table, column) -> why.
CHANGED: dict[tuple[str, str], str] = {}
#: Tables to which a later migration adds rows: table -> why.
GROWN = {"meta": "webhooks begin at the end of the log"}
#: What the jobs of a fixture have come to.
STATES = {
    JobState.SUCCEEDED, JobState.FAILED, JobState.PAUSED, JobState.CANCELLED, JobState.RUNNING,
    JobState.QUEUED,
}  # fmt: skip
#: Tables that may be empty in a fixture.
EMPTY = {"alembic_version", "meta"}


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction on the database itself, past the store."""
    if url.startswith("sqlite"):
        path = sqlite_path(url)
        engine = create_engine("sqlite://", creator=lambda: connect(path, ()))
    else:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def make_old(url: str, revision: str) -> dict[str, list[str]]:
    """Make a database as that version left it; return its tables and their columns."""
    with connected(url) as connection:
        command.upgrade(migrate._config(connection), revision)
        engine = connection.dialect.name
        for statement in statements(RELEASED[revision].read_text(), engine):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        look = inspect(connection)
        tables = {t: [c["name"] for c in look.get_columns(t)] for t in look.get_table_names()}
        if engine == "postgresql":
            for table in (t for t, names in tables.items() if "seq" in names):
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), max(seq))"
                    f" FROM {table} HAVING pg_get_serial_sequence('{table}', 'seq') IS NOT NULL"
                )
    return tables


def everything(url: str, tables: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    kept = {
        table: [n for n in names if (table, n) not in CHANGED]
        for table, names in tables.items()
        if table != "alembic_version"
    }
    with connected(url) as connection:
        return rows(connection.exec_driver_sql, kept)


@pytest.mark.parametrize("revision", RELEASED)
def test_every_released_schema_migrates_whole(empty_url: str, revision: str) -> None:
    url = empty_url
    tables = make_old(url, revision)
    before = everything(url, tables)
    assert {t for t, found in before.items() if not found} <= EMPTY, "every table is tried"
    store = open_store(url)
    try:
        assert store.verify() == []
        after = everything(url, tables)
        grown = {table: after.pop(table) for table in GROWN}
        assert all(set(before.pop(table)) <= set(found) for table, found in grown.items())
        assert after == before
        with connected(url) as connection:
            found, newest = migrate._revisions(connection)
        assert found == newest
        jobs = store.read(lambda tx: tx.jobs.page(JobFilter(), None, 50))
        assert {j.state for j in jobs} == STATES
        (done,) = [j for j in jobs if j.state is JobState.SUCCEEDED]
        assert (done.name, done.spec.labels) == ("it's trained", {"team": "vision"})
        funds = store.read(lambda tx: tx.ledger.balance(done.account_id, Unit.CREDIT))
        assert funds.held > 0
    finally:
        store.close()


def test_a_later_schema_keeps_all_and_a_copy_of_before(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration yet to be written: a column is added to a table with rows and triggers."""
    url = empty_url
    folder = tmp_path / "later"
    folder.mkdir()
    plain = migrate._config

    def later(connection: Connection) -> Config:
        config: Config = plain(connection)
        own = Path(migrate.__file__).parent / "migrations" / "versions"
        config.set_main_option("version_locations", f"{own};{folder}")
        config.set_main_option("path_separator", ";")
        return config

    tables = make_old(url, "0001")
    before = everything(url, tables)
    with connected(url) as connection:
        newest = migrate._revisions(connection)[1]
    (folder / "later.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = 'later', {newest!r}\n"
        "def upgrade():\n"
        "    op.add_column('jobs', sa.Column('mood', sa.Text, server_default='calm'))\n"
    )
    monkeypatch.setattr(migrate, "_config", later)
    store = open_store(url)
    try:
        assert store.verify() == []
        after = everything(url, tables)
        grown = {table: after.pop(table) for table in GROWN}
        assert all(set(before.pop(table)) <= set(found) for table, found in grown.items())
        assert after == before
        with connected(url) as connection:
            moods = connection.exec_driver_sql("SELECT DISTINCT mood FROM jobs").fetchall()
            assert [m[0] for m in moods] == ["calm"]
    finally:
        store.close()
    if url.startswith("sqlite"):
        path = sqlite_path(url)
        copies = list(path.parent.glob(f"{path.name}.before-upgrade-of-*"))
        assert [c.name.rpartition("-")[2] for c in copies] == ["0001"]
        kept = connect(copies[0], ())
        assert "mood" not in [row[1] for row in kept.execute("PRAGMA table_info(jobs)")]
        kept.close()
