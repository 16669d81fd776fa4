"""Bring a database to the newest schema, by Alembic, from code: there is no ini file to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from trainshed.domain.errors import Unavailable
from trainshed.store.sqlite import connect, copy, driver


def sqlite(path: Path) -> None:
    """Migrate a SQLite file that this process has locked; a copy is kept before an upgrade.

    Raises:
        Unavailable: the database was made by a newer version.
    """
    engine = create_engine(
        "sqlite://",
        module=driver(),
        poolclass=NullPool,
        creator=lambda: connect(path, ("journal_mode = WAL", "synchronous = FULL")),
    )
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            found, newest = _revisions(connection)
        if found == newest:
            return
        if found is not None:
            _keep_copy(path, found)
        with engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def upgrade_if_older(connection: Connection) -> None:
    """Upgrade unless the schema is the newest.

    Raises:
        Unavailable: the database was made by a newer version.
    """
    found, newest = _revisions(connection)
    if found != newest:
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run every missing migration in the connection's transaction."""
    from alembic import command

    command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> tuple[str | None, str | None]:
    """Return the database's revision and the newest there is."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config(connection))
    found = MigrationContext.configure(connection).get_current_revision()
    known = {s.revision for s in script.walk_revisions()}
    if found is not None and found not in known:
        raise Unavailable(
            f"The database has schema {found}, which this version does not know: it was made by a"
            " newer one. Install that version again, or restore a backup."
        )
    return found, script.get_current_head()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _keep_copy(path: Path, revision: str) -> None:
    source = connect(path, ())
    try:
        copy(source, path.with_name(f"{path.name}.before-upgrade-of-{revision}"))
    finally:
        source.close()
