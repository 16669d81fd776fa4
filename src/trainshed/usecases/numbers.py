"""Running numbers, for dialects whose clients know objects by whole numbers (D1)."""

from __future__ import annotations

from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx

#: Beyond this a number is nobody's.
MOST = 2**53


def draw(tx: Tx, dialect: str, kind: str, object_id: str, account_id: str) -> int:
    """Bind the next number of the installation to an object and return it."""
    counter = f"number:{dialect}:{kind}"
    number = int(tx.records.get_meta(counter) or 0) + 1
    while not tx.records.bind_public_id(dialect, kind, str(number), object_id, account_id):
        number += 1  # two servers began to count at once
    tx.records.set_meta(counter, str(number))
    return number


def known(tx: Tx, dialect: str, kind: str, object_id: str) -> int | None:
    """Return an object's number, if it has one."""
    found = tx.records.public_id(dialect, kind, object_id)
    return None if found is None else int(found)


def number_of(deps: Deps, dialect: str, kind: str, object_id: str, account_id: str) -> int:
    """Return an object's number; it gets one when it is first seen."""
    found = deps.store.read(lambda tx: known(tx, dialect, kind, object_id))
    if found is not None:
        return found

    def apply(tx: Tx) -> int:
        tx.ledger.lock(account_id)
        one = known(tx, dialect, kind, object_id)
        return draw(tx, dialect, kind, object_id, account_id) if one is None else one

    return deps.store.write(apply)


def object_of(tx: Tx, dialect: str, kind: str, number: int) -> str | None:
    """Return what a number names."""
    if not 0 < number < MOST:
        return None
    return tx.records.object_id(dialect, kind, str(number))
