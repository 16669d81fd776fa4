"""Column shorthands that every table file uses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

#: An auto-increasing key: SQLite wants exactly INTEGER for that.
SERIAL = BigInteger().with_variant(Integer, "sqlite")

#: Bytes in order on both engines: PostgreSQL would sort text by the rules of some language.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def text(name: str, null: bool = False, key: bool = False, to: str | None = None) -> Column[Any]:
    """Return a text column; ``to`` makes it a foreign key."""
    links = (ForeignKey(to),) if to else ()
    return Column(name, TEXT, *links, nullable=null, primary_key=key)


def number(name: str, null: bool = False, key: bool = False) -> Column[Any]:
    """Return an int64 column."""
    return Column(name, BigInteger, nullable=null, primary_key=key, autoincrement=False)


def serial(name: str) -> Column[Any]:
    """Return an auto-increasing int64 primary key."""
    return Column(name, SERIAL, primary_key=True, autoincrement=True)


def blob(name: str, null: bool = False) -> Column[Any]:
    """Return a column of bytes."""
    return Column(name, LargeBinary, nullable=null)
