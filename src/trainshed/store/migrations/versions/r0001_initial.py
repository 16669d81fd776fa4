"""Everything there is at first."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from trainshed.store.migrations.triggers import create_triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables, then the rules that the database itself keeps."""
    engine = op.get_bind().dialect.name
    text = (Path(__file__).parent / f"r0001_{engine}.sql").read_text("utf-8")
    for statement in text.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
    create_triggers()
