"""Alembic's entry: the caller gives the connection and owns its transaction."""

from __future__ import annotations

from alembic import context

from trainshed.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
