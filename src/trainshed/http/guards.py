"""Who may use a route. One table; a route without a guard stops the server from starting (D15)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers

from trainshed.domain.errors import NotAllowed
from trainshed.domain.people import Principal, Right
from trainshed.http.problems import Renderer, render
from trainshed.ports.deps import Deps
from trainshed.usecases.figures import Figure

#: The closed list of what is open to everyone, each with its reason. A route that says PUBLIC
#: and is not here stops the server from starting.
PUBLIC_ROUTES: Mapping[tuple[str, str], str] = {
    ("GET", "/"): "the front page says where the doors are",
    ("GET", "/openapi.json"): "documentation",
    ("GET", "/v1/openapi.json"): "documentation",
    ("GET", "/middleman/api/v1/openapi.json"): "documentation",
    ("GET", "/v1/health"): "health",
    ("POST", "/v1/login"): "login",
    ("POST", "/v1/register"): "register; closed unless the policy opens it",
    ("PUT", "/v1/signed/{token}"): "presigned: the URL is the credential",
    ("GET", "/v1/signed/{token}"): "presigned: the URL is the credential",
    ("GET", "/mimaas/openapi.json"): "documentation",
    ("POST", "/mimaas/login"): "login",
    ("POST", "/mimaas/register"): "register; closed unless the policy opens it",
    ("GET", "/mimaas/api/boards"): "which boards there are; its clients send no token",
    ("GET", "/mimaas/api/boards/{name}"): "which boards there are; its clients send no token",
    ("GET", "/mimaas/api/boards/{name}/status"): "how busy a board is; its clients send no token",
    ("GET", "/mimaas/api/plans"): "what plans there are; its clients send no token",
    ("GET", "/orchestrator"): "health",
    ("GET", "/orchestrator/"): "health",
    ("GET", "/orchestrator/health"): "health",
    ("GET", "/orchestrator/openapi.json"): "documentation",
    ("GET", "/orchestrator/docs"): "documentation",
    ("GET", "/orchestrator/redoc"): "documentation",
    ("GET", "/orchestrator/static/{name}"): "scripts and styles of the documentation",
}

RUNNER_PREFIX = "/runner/"


class Kind(enum.Enum):
    """The kinds of guard. OPEN_LOCAL is KEYED, but in open mode also without a key (D15)."""

    KEYED = "keyed"
    OPERATOR = "operator"
    PUBLIC = "public"
    OPEN_LOCAL = "open_local"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class Guard:
    """``job`` lets a job token in too, for its own Job alone."""

    kind: Kind
    right: Right = Right.READ
    job: bool = False

    def check(self, principal: Principal) -> None:
        """Raise NotAllowed unless the caller may use the route."""
        if principal.job_id is not None and not self.job:
            raise NotAllowed("A job's own token reaches its own job only.")
        if self.kind is Kind.OPERATOR:
            principal.need_operator(self.right)
        principal.need(self.right)


READ = Guard(Kind.KEYED, Right.READ)
WRITE = Guard(Kind.KEYED, Right.WRITE)
ADMIN = Guard(Kind.KEYED, Right.ADMIN)
OPERATOR = Guard(Kind.OPERATOR, Right.ADMIN)
OPERATOR_READ = Guard(Kind.OPERATOR, Right.READ)
PUBLIC = Guard(Kind.PUBLIC)
RUNNER = Guard(Kind.RUNNER)
OPEN_READ = Guard(Kind.OPEN_LOCAL, Right.READ)
OPEN_WRITE = Guard(Kind.OPEN_LOCAL, Right.WRITE)
JOB_READ = Guard(Kind.KEYED, Right.READ, job=True)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path of a Door.

    ``endpoint`` is a FastAPI path function or, with ``raw``, an ``async (Request) -> Response``
    that reads the body itself. ``body_limit`` None takes the server's; ``idempotent`` honours
    Idempotency-Key. ``document`` adds to (raw: is) the OpenAPI operation; ``hidden`` leaves it out.
    ``vital`` is answered, uncounted, however busy the server is; its endpoint needs no thread.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    guard: Guard | None
    status: int = 200
    raw: bool = False
    body_limit: int | None = None
    idempotent: bool = False
    hidden: bool = False
    vital: bool = False
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alias:
    """A literal address: ``path`` and all below it is served by ``to`` below the door's prefix.

    ``claims`` says whether a request there is for this door; None takes what no other door claims.
    """

    path: str
    to: str = ""
    claims: Callable[[Headers], bool] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """One API vocabulary at one prefix, and at its ``aliases``.

    ``render`` shows its errors, ``error`` describes them in OpenAPI; ``title`` is for people.
    ``strict`` refuses unknown query parameters. ``front`` adds to the JSON of ``GET /``.
    ``pages`` are for a browser, by their names: the front page links them.
    ``figures``: what it adds to ``/metrics``, asked for at each scrape. ``counted``: its requests
    are also counted by route there (``api_requests_total``), which only one door may ask for.
    """

    name: str
    prefix: str
    routes: Sequence[Route]
    title: str = ""
    render: Renderer = render
    docs: str | None = None
    listed: bool = True
    aliases: Sequence[Alias] = ()
    error: Mapping[str, Any] | None = None
    figures: Callable[[Deps], Sequence[Figure]] | None = None
    counted: bool = False
    strict: bool = True
    front: Callable[[Deps], Mapping[str, Any]] | None = None
    pages: Mapping[str, str] = field(default_factory=dict)


def check_doors(doors: Sequence[Door]) -> None:
    """Refuse a table with an undeclared, doubled or wrongly opened route.

    Raises:
        ValueError: naming the routes.
    """
    seen: set[tuple[str, str]] = set()
    wrong: list[str] = []
    for door in doors:
        for route in door.routes:
            where = (route.method, door.prefix + route.path)
            words = " ".join(where)
            if where in seen:
                wrong.append(f"{words} is declared twice")
            seen.add(where)
            wrong.extend(f"{words} {why}" for why in _wrong(route, *where))
    if wrong:
        raise ValueError("; ".join(wrong))


def _wrong(route: Route, method: str, path: str) -> list[str]:
    if route.guard is None:
        return ["declares no guard"]
    if route.guard.kind is Kind.PUBLIC and (method, path) not in PUBLIC_ROUTES:
        return ["is PUBLIC but not in the closed list of guards.PUBLIC_ROUTES"]
    if route.guard.kind is Kind.RUNNER and not (path.startswith(RUNNER_PREFIX) and route.raw):
        return [f"is RUNNER but not a raw endpoint below {RUNNER_PREFIX}"]
    return []
