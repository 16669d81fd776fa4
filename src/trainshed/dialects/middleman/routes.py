"""The Middleman door: every route in one table, at its prefix and at the literal ``/api/v1``."""

from __future__ import annotations

from trainshed.dialects.middleman import routes_account, routes_hooks, routes_jobs
from trainshed.dialects.middleman.errors import DESCRIPTION, render
from trainshed.dialects.middleman.parameters import claims
from trainshed.http.guards import Alias, Door

PREFIX = "/middleman/api/v1"
LITERAL = "/api/v1"


def door() -> Door:
    """Return the door, ready to be given to ``create_app``."""
    return Door(
        "middleman",
        PREFIX,
        (*routes_jobs.ROUTES, *routes_account.ROUTES, *routes_hooks.ROUTES),
        "Middleman",
        render,
        f"{PREFIX}/openapi.json",
        aliases=(Alias(LITERAL, claims=claims),),
        error=DESCRIPTION,
    )
