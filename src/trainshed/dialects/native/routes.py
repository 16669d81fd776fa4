"""The native door: every route of ``/v1`` in one table."""

from __future__ import annotations

from trainshed.dialects.native import (
    routes_benches,
    routes_boards,
    routes_files,
    routes_hooks,
    routes_jobs,
    routes_people,
    routes_registries,
    routes_schedules,
    routes_streams,
)
from trainshed.dialects.native.errors import render
from trainshed.http.guards import Door

PREFIX = "/v1"


def door() -> Door:
    """Return the door, ready to be given to ``create_app``."""
    routes = (
        *routes_people.ROUTES,
        *routes_jobs.ROUTES,
        *routes_schedules.ROUTES,
        *routes_boards.ROUTES,
        *routes_benches.ROUTES,
        *routes_streams.ROUTES,
        *routes_files.ROUTES,
        *routes_registries.ROUTES,
        *routes_hooks.ROUTES,
    )
    docs = f"{PREFIX}/openapi.json"
    return Door("native", PREFIX, routes, "The native API", render, docs)
