"""The OpenAPI documents: FastAPI's, with our errors, credentials and raw routes written in."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from trainshed.http.guards import Door, Kind, Route

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ERROR = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def combined(app: FastAPI, doors: Sequence[Door]) -> dict[str, Any]:
    """Return the document of every door."""
    whole = get_openapi(
        title=app.title, version=app.version, routes=app.routes,
        summary="One self-hosted ML platform.",
    )  # fmt: skip
    whole.setdefault("paths", {})
    for door in doors:
        for route in door.routes:
            if not route.hidden:
                _describe(whole["paths"], door, route)
    parts = whole.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for gone in ("HTTPValidationError", "ValidationError"):
        schemas.pop(gone, None)
    schemas["Problem"] = PROBLEM
    parts["securitySchemes"] = SCHEMES
    return whole


def part(whole: Mapping[str, Any], door: Door) -> dict[str, Any]:
    """Return what of a combined document belongs to one door."""
    mine = copy.deepcopy(dict(whole))
    mine["info"]["title"] = door.title or door.name
    #: A dialect whose document prints its paths without the prefix describes them so.
    cut = len(door.prefix) if any(a.path == a.to for a in door.aliases) else 0
    mine["paths"] = {
        path[cut:]: item
        for path, item in mine["paths"].items()
        if path.startswith(door.prefix + "/")
    }
    schemas = mine["components"]["schemas"]
    mine["components"]["schemas"] = {n: schemas[n] for n in _used(mine["paths"], schemas)}
    return mine


def _used(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """Return the names of the schemas that ``paths`` refer to, directly or through others."""
    found: set[str] = set()
    pending = _refs(paths)
    while pending - found:
        name = min(pending - found)
        found.add(name)
        pending |= _refs(schemas.get(name, {}))
    return sorted(found & set(schemas))


def _refs(value: Any) -> set[str]:
    return set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(value)))


def _describe(paths: dict[str, Any], door: Door, route: Route) -> None:
    path = door.prefix + route.path
    methods = paths.setdefault(path, {})
    if route.raw:
        methods[route.method.lower()] = {
            "operationId": f"{door.name}_{route.endpoint.__name__}",
            "tags": [door.name],
            "parameters": _path_parameters(path),
            "responses": {str(route.status): {"description": "Successful Response"}},
            **route.document,
        }
    operation = methods[route.method.lower()]
    assert route.guard is not None
    operation["security"] = [] if route.guard.kind is Kind.PUBLIC else [{n: []} for n in SCHEMES]
    if route.guard.kind is Kind.OPEN_LOCAL:
        operation["security"].append({})
    operation["x-guard"] = route.guard.kind.value
    if route.guard.kind in (Kind.KEYED, Kind.OPERATOR, Kind.OPEN_LOCAL):
        operation["x-right"] = route.guard.right.name.lower()
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = _ERROR if door.error is None else dict(door.error)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [piece[1:-1] for piece in path.split("/") if piece.startswith("{")]
    return [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names
    ]
