"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.datastructures import Headers

from trainshed.dialects.middleman import translate
from trainshed.http.hall import Called
from trainshed.usecases import queries

#: The public SDK, and every client that says it is one: it can only read closed sets of words.
SDK_AGENT = "middleman-python/"
KEY_PREFIX = "mdlm_"

Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


def claims(headers: Headers) -> bool:
    """Return whether a request to the shared literal address is for this door."""
    if "x-api-key" in headers or headers.get("user-agent", "").startswith(SDK_AGENT):
        return True
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return scheme.lower() == "bearer" and token.strip().startswith(KEY_PREFIX)


def _job(call: Called, job_id: str) -> str:
    prefix = translate.id_prefix("job", job_id)
    return queries.find_job(call.deps, call.principal, prefix, translate.DIALECT)


async def _closed(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith(SDK_AGENT)


#: The core's id of the job in the path, by its UUID or a unique beginning of it.
JobRef = Annotated[str, Depends(_job)]
#: Whether the client can only read the closed set of frameworks.
Closed = Annotated[bool, Depends(_closed)]
