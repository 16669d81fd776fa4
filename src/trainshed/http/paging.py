"""Keyset cursors: signed, so that a page continues only where one of this caller's pages ended."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from trainshed.domain.errors import InvalidInput
from trainshed.ports.paging import After
from trainshed.ports.secrets import Secrets

DEFAULT = 50
MAX = 200
MAX_CURSOR = 512


def encode(secrets: Secrets, scope: str, values: Sequence[Any]) -> str:
    """Return a cursor for ``values``, good in ``scope`` (list and account) only."""
    text = base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")
    return f"{text}.{secrets.sign(_message(scope, text))}"


def decode(secrets: Secrets, scope: str, cursor: str) -> list[Any]:
    """Return what ``encode`` was given.

    Raises:
        InvalidInput: changed, or of another list or account.
    """
    text, _, signature = cursor.partition(".")
    if len(cursor) <= MAX_CURSOR and secrets.verify(_message(scope, text), signature):
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return msgspec.json.decode(raw, type=list[Any])
        except (binascii.Error, msgspec.DecodeError):
            pass
    raise InvalidInput("cursor must be the 'next' of an earlier page of this list.", field="cursor")


def encode_after(secrets: Secrets, scope: str, after: After) -> str:
    """Return the cursor of a (created_at, id) list."""
    return encode(secrets, scope, [after.created_at.isoformat(), after.id])


def decode_after(secrets: Secrets, scope: str, cursor: str | None) -> After | None:
    """Return where a (created_at, id) list goes on; None at its start."""
    if cursor is None:
        return None
    at, object_id = decode(secrets, scope, cursor)
    return After(datetime.fromisoformat(at), object_id)


def encode_seq(secrets: Secrets, scope: str, seq: int) -> str:
    """Return the cursor of a list by sequence number."""
    return encode(secrets, scope, [seq])


def decode_seq(secrets: Secrets, scope: str, cursor: str | None) -> int | None:
    """Return where a list by sequence number goes on; None at its start."""
    return None if cursor is None else int(decode(secrets, scope, cursor)[0])


def _message(scope: str, text: str) -> bytes:
    return f"cursor:{scope}:{text}".encode("utf-8", "replace")
