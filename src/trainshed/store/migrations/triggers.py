"""Rules that the database itself keeps, whoever writes to it. Part of revision 0001: frozen."""

from __future__ import annotations

from alembic import op

#: (name, table, operation, condition under which it is refused, what is said)
RULES = (
    ("entries_update", "entries", "UPDATE", "1 = 1", "ledger entries are never changed"),
    ("entries_delete", "entries", "DELETE", "1 = 1", "ledger entries are never deleted"),
    ("moves_update", "hold_moves", "UPDATE", "1 = 1", "the journal of holds is never changed"),
    ("moves_delete", "hold_moves", "DELETE", "1 = 1", "the journal of holds is never deleted"),
    ("audit_update", "audit", "UPDATE", "1 = 1", "audit lines are never changed"),
    ("audit_delete", "audit", "DELETE", "1 = 1", "audit lines are never deleted"),
    (
        "jobs_outcome", "jobs", "UPDATE",
        "OLD.outcome IS NOT NULL AND (NEW.outcome IS NULL OR NEW.outcome <> OLD.outcome)",
        "the outcome of a job is written once",
    ),
    (
        "attempts_end", "attempts", "UPDATE",
        "OLD.state NOT IN ('LEASED', 'STARTING', 'RUNNING', 'CHECKPOINTING')"
        " AND NEW.state <> OLD.state",
        "an attempt that has ended does not move again",
    ),
    (
        "holds_end", "holds", "UPDATE",
        "OLD.state <> 'open' AND (NEW.state <> OLD.state OR NEW.captured <> OLD.captured)",
        "a hold ends once",
    ),
)  # fmt: skip


def create_triggers() -> None:
    """Make one trigger for each rule, in the words of the engine at hand."""
    make = _sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql
    for name, table, operation, condition, words in RULES:
        for statement in make(name, table, operation, condition, words):
            op.execute(statement)


def _sqlite(name: str, table: str, operation: str, condition: str, words: str) -> list[str]:
    return [
        f"CREATE TRIGGER keep_{name} BEFORE {operation} ON {table} WHEN {condition}"
        f" BEGIN SELECT RAISE(ABORT, 'trainshed: {words}'); END"
    ]


def _postgresql(name: str, table: str, operation: str, condition: str, words: str) -> list[str]:
    return [
        f"CREATE FUNCTION keep_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'trainshed: {words}'"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER keep_{name} BEFORE {operation} ON {table} FOR EACH ROW"
        f" WHEN ({condition}) EXECUTE FUNCTION keep_{name}()",
    ]
