"""Logins to container registries, for Jobs whose environment is an image."""

from __future__ import annotations

from trainshed.dialects.native import answers, answers_people, schema
from trainshed.dialects.native.parameters import Word
from trainshed.domain.image import Login
from trainshed.http.guards import ADMIN, READ, Route
from trainshed.http.hall import Called
from trainshed.usecases import registries


def list_registries(call: Called) -> answers.Items[answers_people.Registry]:
    """List the account's logins to container registries, without passwords."""
    found = registries.listed(call.deps, call.principal)
    return answers.Items(items=[_shown(one) for one in found])


def put_registry(call: Called, body: schema.RegistryBody) -> answers_people.Registry:
    """Store a login to a container registry, in place of an earlier one."""
    made = registries.put(call.deps, call.principal, body.registry, body.username, body.password)
    return _shown(made)


def delete_registry(call: Called, registry: Word) -> None:
    """Forget a login."""
    registries.delete(call.deps, call.principal, registry)


def _shown(one: Login) -> answers_people.Registry:
    return answers_people.Registry(
        registry=one.registry, username=one.username, updated_at=one.updated_at
    )


SMALL = schema.SMALL_BYTES
ROUTES = [
    Route("GET", "/registries", list_registries, READ),
    Route("PUT", "/registries", put_registry, ADMIN, body_limit=SMALL),
    Route("DELETE", "/registries/{registry}", delete_registry, ADMIN, 204),
]
