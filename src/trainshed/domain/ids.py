"""Ids are a kind prefix and 32 hex digits of a random UUID (D1); they are drawn by a port, parsed
here.
"""

from __future__ import annotations

import re

from trainshed.domain.errors import NotFound

#: kind -> prefix, for every object that has an id of its own.
PREFIXES = {
    "account": "acc",
    "user": "usr",
    "key": "key",
    "session": "ses",
    "job": "job",
    "attempt": "att",
    "hold": "hld",
    "transaction": "txn",
    "upload": "upl",
    "artifact": "art",
    "request": "req",
    "event": "evt",
    "schedule": "sch",
    "webhook": "whk",
    "channel": "chn",
    "delivery": "dlv",
    "bench": "bch",
}

_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")


def format_id(kind: str, hex32: str) -> str:
    """Return ``prefix_hex32`` for ``kind``; ``hex32`` is 32 lower-case hex digits."""
    return f"{PREFIXES[kind]}_{hex32}"


def parse_id(kind: str, text: str) -> str:
    """Return ``text`` if it is a well-formed id of ``kind``.

    Raises:
        NotFound: it is not: an ill-formed id names nothing, which is all a caller may learn.
    """
    if not _ID.fullmatch(text) or not text.startswith(PREFIXES[kind] + "_"):
        raise NotFound(f"There is no {kind} with that id.")
    return text
