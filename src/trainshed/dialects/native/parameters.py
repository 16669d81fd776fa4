"""Parameters that many routes share, and how a list becomes a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends, Path, Query
from pydantic import StringConstraints

from trainshed.dialects.native.schema import INT64
from trainshed.domain.ids import parse_id
from trainshed.http import paging
from trainshed.http.hall import Call
from trainshed.ports.paging import After


async def _job(job_id: str) -> str:
    return parse_id("job", job_id)


async def _key(key_id: str) -> str:
    return parse_id("key", key_id)


async def _user(user_id: str) -> str:
    return parse_id("user", user_id)


async def _account(account_id: str) -> str:
    return parse_id("account", account_id)


async def _upload(upload_id: str) -> str:
    return parse_id("upload", upload_id)


async def _artifact(artifact_id: str) -> str:
    return parse_id("artifact", artifact_id)


async def _schedule(schedule_id: str) -> str:
    return parse_id("schedule", schedule_id)


JobRef = Annotated[str, Depends(_job)]
KeyRef = Annotated[str, Depends(_key)]
UserRef = Annotated[str, Depends(_user)]
AccountRef = Annotated[str, Depends(_account)]
UploadRef = Annotated[str, Depends(_upload)]
OfferRef = Annotated[str, Path(max_length=200)]
ArtifactRef = Annotated[str, Depends(_artifact)]
ScheduleRef = Annotated[str, Depends(_schedule)]

Limit = Annotated[int, Query(ge=1, le=paging.MAX)]
Cursor = Annotated[str | None, Query(max_length=paging.MAX_CURSOR)]
Seq = Annotated[int, Query(ge=0, le=INT64)]
Step = Annotated[int | None, Query(ge=-INT64, le=INT64)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Dated(Protocol):
    """A row of a (created_at, id) list."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    @property
    def id(self) -> str:
        """Its id."""


def scope_of(call: Call, what: str) -> str:
    """Return what a cursor is good for: one list of one account."""
    return f"{what}:{call.principal.account_id}"


def after(call: Call, what: str, cursor: str | None) -> After | None:
    """Return where a list goes on."""
    return paging.decode_after(call.deps.secrets, scope_of(call, what), cursor)


def following(call: Call, what: str, rows: Sequence[Dated], limit: int) -> str | None:
    """Return the cursor of the next page, None when this one was not full."""
    if len(rows) < limit:
        return None
    last = After(rows[-1].created_at, rows[-1].id)
    return paging.encode_after(call.deps.secrets, scope_of(call, what), last)


def before(call: Call, what: str, cursor: str | None) -> int | None:
    """Return the sequence number before which a list goes on."""
    return paging.decode_seq(call.deps.secrets, scope_of(call, what), cursor)


def following_seq(call: Call, what: str, seqs: Sequence[int], limit: int) -> str | None:
    """As ``following``, for lists by sequence number."""
    if len(seqs) < limit:
        return None
    return paging.encode_seq(call.deps.secrets, scope_of(call, what), seqs[-1])
