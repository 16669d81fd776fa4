"""Every route × method × caller, generated from the live route table (SECURITY 1–4, 7, 45)."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.deps import PASSWORD, Person, World, world
from tests.support.mimaas import Client, StandInBoards, StandInCheck
from tests.support.walked import (
    MIDDLEMAN_BODIES,
    MIDDLEMAN_NO_BODY,
    MIMAAS_BODIES,
    MIMAAS_FORMS,
    NATIVE_BODIES,
    NATIVE_NO_BODY,
)

from trainshed.dialects import middleman, native
from trainshed.dialects.middleman import routes_hooks
from trainshed.dialects.middleman.translate import public_id
from trainshed.dialects.mimaas.routes import door as mimaas_door
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.domain.people import Right
from trainshed.http.guards import PUBLIC_ROUTES, Door, Guard, Kind, Route
from trainshed.ports.deps import Policy

DOORS = [native.door(), middleman.door(), mimaas_door()]
V1, MIDDLEMAN, MIMAAS = (d.prefix for d in DOORS)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A route of the table, with its whole path."""

    door: Door
    route: Route

    @property
    def method(self) -> str:
        return self.route.method

    @property
    def path(self) -> str:
        return self.door.prefix + self.route.path

    @property
    def guard(self) -> Guard:
        assert self.route.guard is not None
        return self.route.guard

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


#: Members of bodies that name an object.
IDS_IN = ("job_id", "upload_id")
ROUTES = [Entry(d, r) for d in DOORS for r in d.routes]
IDS = [r.name for r in ROUTES]
KEYED = [r for r in ROUTES if r.guard.kind is not Kind.PUBLIC]
KEYED_IDS = [r.name for r in KEYED]
#: Boards are everybody's; all else that a path names is an account's.
WITH_ID = [r for r in KEYED if "{" in r.path.replace("{name}", "")]
WITH_ID_IDS = [r.name for r in WITH_ID]


def below(prefix: str, bodies: dict[str, Any]) -> dict[str, Any]:
    """The same with whole paths."""
    return {name.replace(" ", f" {prefix}"): body for name, body in bodies.items()}


STRICT = {**below(V1, NATIVE_BODIES), **below(MIDDLEMAN, MIDDLEMAN_BODIES)}
BODIES = {**STRICT, **below(MIMAAS, MIMAAS_BODIES)}
NO_BODY = {
    *below(V1, dict.fromkeys(NATIVE_NO_BODY)), *below(MIDDLEMAN, dict.fromkeys(MIDDLEMAN_NO_BODY)),
    *below(MIMAAS, dict.fromkeys(MIMAAS_FORMS)),
}  # fmt: skip


def refusal(entry: Entry, answer: httpx2.Response) -> dict[str, Any]:
    """What an error says, whatever its shape; its request id differs each time."""
    body = answer.json()
    if entry.door.prefix == MIDDLEMAN:
        assert answer.headers["content-type"] == "application/json"
        assert body["detail"] == body["error"]["message"]
        details = dict(body["error"]["details"])
        assert details.pop("request_id")
        return {"code": body["error"]["code"], "detail": body["detail"], **details}
    if entry.door.prefix == MIMAAS:
        assert answer.headers["content-type"] == "application/json"
        assert set(body) <= {"message", "code", "errors"}
        return dict(body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.pop("request_id")
    return body


@dataclasses.dataclass
class Walk:
    world: World
    owner: Person
    stranger: Person
    member: Person
    viewer: Person
    job_token: str
    ids: dict[str, str]
    middleman_ids: dict[str, str]
    mimaas_ids: dict[str, str]

    def ids_of(self, route: Entry) -> dict[str, str]:
        others = {MIDDLEMAN: self.middleman_ids, MIMAAS: self.mimaas_ids}
        return others.get(route.door.prefix, self.ids)

    def call(self, route: Entry, headers: dict[str, str], **ids: str) -> httpx2.Response:
        name, path = route.name, route.path
        filled = {**self.ids_of(route), **ids}
        for key, value in filled.items():
            path = path.replace("{" + key + "}", value)
        body = BODIES.get(name)
        if body is not None:
            body = {k: str(v).format(**filled) if k in IDS_IN else v for k, v in body.items()}
        return self.world.client.request(route.method, path, json=body, headers=headers)


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes_hooks, "TEST_S", 0.0)  # nobody carries anything out here
        yield from walking()


def walking() -> Iterator[Walk]:
    policy = Policy(min_free_bytes=0, sign_up_open=True, cpu_fallback=True)
    wings = {"boards": StandInBoards(), "model_check": StandInCheck()}
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder), policy, doors=DOORS, deps=wings) as w,
    ):
        owner, stranger = w.person("owner"), w.person("stranger")
        home = owner.principal.account_id
        w.credits(owner)
        w.credits(stranger)
        job_id = w.submit(owner)
        token = f"tsj_{'a' * 32}_{w.deps.ids.token(32)}"
        attempt = w.lease(owner, job_id)
        token = attempt.message
        login = {"registry": "ghcr.io", "username": "owner", "password": "walked"}
        w.client.put("/v1/registries", json=login, headers=owner.headers)
        hook, told = w.webhook(owner)
        made = w.artifact(owner, job_id, attempt.id, {"model.txt": b"weights"})
        for person in (owner, stranger):
            w.upload(person, "train.py", b"")
        body = MIDDLEMAN_BODIES["POST /jobs"]
        theirs = w.client.post(f"{MIDDLEMAN}/jobs", json=body, headers=owner.headers)
        assert theirs.status_code == 201, theirs.text
        key = w.key(owner.principal, prefix="mdlm_").key
        hook_there, told_there = w.webhook(owner, MIDDLEMAN)
        asked = Client(w, owner.key, MIMAAS).send()
        yield Walk(
            w, owner, stranger,
            w.person("member", "member", home), w.person("viewer", "viewer", home),
            token,
            {
                "job_id": job_id,
                "key_id": w.key(owner.principal).key.id,
                "user_id": owner.principal.user_id or "",
                "account_id": home,
                "upload_id": w.upload(owner, "data.txt", b"abc"),
                "artifact_id": made.id,
                "schedule_id": schedule_of(w, owner),
                "webhook_id": hook,
                "delivery_id": told,
                "channel_id": w.channel(owner),
                "token": "nothing",
                "registry": "ghcr.io",
                "name": "nrf5340dk",
                "bench_id": w.deps.ids.new("bench"),
                "measurement_id": attempt.id,
            },
            {
                "job_id": theirs.json()["id"],
                "key_id": public_id(key.id),
                "webhook_id": hook_there,
                "delivery_id": told_there,
            },
            {"request_id": str(asked["id"]), "kind": "model", "name": "nrf5340dk"},
        )  # fmt: skip


def schedule_of(w: World, owner: Person) -> str:
    """A Schedule of the owner whose Job has been made and ended."""
    body = {"name": "nightly", "cron": "0 2 * * *", "job": {"command": ["true"]}}
    made = w.client.post("/v1/schedules", json=body, headers=owner.headers).json()
    path = f"/v1/schedules/{made['id']}"
    run = w.client.post(f"{path}/run-now", headers=owner.headers).json()
    w.client.post(f"/v1/jobs/{run['last_job_id']}/cancel", headers=owner.headers)
    return str(made["id"])


def snapshot(walk: Walk) -> Any:
    """Everything of the owner that a stranger might have changed."""
    get, headers = walk.world.client.get, walk.owner.headers
    paths = ["/v1/jobs", "/v1/users", "/v1/uploads", "/v1/me", "/v1/credits/entries", "/v1/keys"]
    paths += ["/v1/registries", "/v1/webhooks", "/v1/channels", "/v1/schedules"]
    paths += [f"{MIDDLEMAN}/jobs", f"{MIMAAS}/api/requests/"]
    answers = [get(p, headers=headers).json() for p in paths]
    for one in answers[5]["items"]:
        one.pop("last_used_at")
    return answers


def test_every_route_that_writes_has_a_body_here() -> None:
    writing = {i for i, r in zip(IDS, ROUTES, strict=True) if r.method not in ("GET", "DELETE")}
    assert writing == set(BODIES) | NO_BODY


def test_the_walk_knows_every_route_of_the_app(walk: Walk) -> None:
    from starlette.routing import Route as RawRoute

    live = {
        (m, r.path)
        for r in walk.world.app.routes
        if isinstance(r, RawRoute)
        for m in r.methods or ()
        if m != "HEAD"
    }
    assert len(live) == len(
        [m for r in walk.world.app.routes for m in getattr(r, "methods", ()) if m != "HEAD"]
    )
    docs = ("/", "/metrics", "/openapi.json", *(f"{d.prefix}/openapi.json" for d in DOORS))
    assert live == {(r.method, r.path) for r in ROUTES} | {("GET", path) for path in docs}


def test_public_routes_are_the_closed_list(walk: Walk) -> None:
    other = orchestrator_door(60.0)
    public = {("GET", other.docs)} | {
        (r.method, d.prefix + r.path)
        for d in (*walk.world.app.state.doors, other)
        for r in d.routes
        if r.guard.kind is Kind.PUBLIC
    }
    assert public == set(PUBLIC_ROUTES)
    assert all(PUBLIC_ROUTES.values())


@pytest.mark.parametrize("route", KEYED, ids=KEYED_IDS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer ts_00000000_" + "a" * 43},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"X-API-Key": "nonsense"},
        {"Authorization": "Bearer "},
    ],
    ids=["none", "unknown", "basic", "nonsense", "empty"],
)
def test_anonymous_is_401_before_anything_is_read(
    walk: Walk, route: Entry, headers: dict[str, str]
) -> None:
    answer = walk.call(route, headers)
    assert answer.status_code == 401, answer.text
    assert refusal(route, answer)["code"] in ("not_authenticated", "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    hostile = walk.world.client.request(
        route.method, route.path, content=b"{not json", headers=headers
    )
    assert hostile.status_code == 401


@pytest.mark.parametrize("route", WITH_ID, ids=WITH_ID_IDS)
def test_another_accounts_object_is_404_as_if_absent(walk: Walk, route: Entry) -> None:
    before = snapshot(walk)
    answer = walk.call(route, walk.stranger.headers)
    if route.guard.kind is Kind.OPERATOR:
        assert answer.status_code == 403
        return
    assert answer.status_code == 404, answer.text
    native_form = route.door.prefix == V1
    absent = {k: v[: 4 * native_form] + "0" * 32 for k, v in walk.ids_of(route).items()}
    nothing = walk.call(route, walk.stranger.headers, **absent)
    assert nothing.status_code == 404
    assert refusal(route, answer) == refusal(route, nothing)
    assert snapshot(walk) == before


@pytest.mark.parametrize("route", KEYED, ids=KEYED_IDS)
def test_a_lower_role_is_403(walk: Walk, route: Entry) -> None:
    guard = route.guard
    for person, right in ((walk.viewer, Right.READ), (walk.member, Right.WRITE)):
        enough = guard.kind is Kind.KEYED and right >= guard.right
        if enough:
            continue
        answer = walk.call(route, person.headers)
        assert answer.status_code == 403, (person, answer.text)
        assert refusal(route, answer)["code"] in ("not_allowed", "forbidden")
    if guard.kind is Kind.OPERATOR:
        assert walk.call(route, walk.owner.headers).status_code == 403


@pytest.mark.parametrize("route", KEYED, ids=KEYED_IDS)
def test_a_narrow_key_of_an_admin_is_403(walk: Walk, route: Entry) -> None:
    if route.guard.right is Right.READ and route.guard.kind is Kind.KEYED:
        return
    w = walk.world
    secret = w.key(walk.owner.principal, scopes=("read",)).secret
    assert walk.call(route, {"X-API-Key": secret or ""}).status_code == 403


@pytest.mark.parametrize("route", KEYED, ids=KEYED_IDS)
def test_a_job_token_reads_its_own_job_only(walk: Walk, route: Entry) -> None:
    headers = {"Authorization": f"Bearer {walk.job_token}"}
    if not route.guard.job:
        assert walk.call(route, headers).status_code == 403
        return
    assert route.method == "GET"
    if not route.path.endswith("/follow"):
        assert walk.call(route, headers).status_code == 200
    other = walk.world.submit(walk.owner)
    assert walk.call(route, headers, job_id=other).status_code == 404


def test_indirect_ids_of_another_account_are_404(walk: Walk) -> None:
    w, headers = walk.world, walk.stranger.headers
    for source, ref in (("upload", "upload_id"), ("artifact", "artifact_id")):
        job = {
            "command": ["true"],
            "inputs": [{"source": source, "ref": walk.ids[ref], "path": "x"}],
        }
        for path in ("/v1/jobs", "/v1/jobs/plan"):
            assert w.client.post(path, json=job, headers=headers).status_code == 404
    body = {"upload_id": walk.ids["upload_id"]}
    path = "/v1/boards/nrf5340dk/check"
    assert w.client.post(path, json=body, headers=headers).status_code == 404
    body = {"job_id": walk.ids["job_id"]}
    assert w.client.post("/v1/downloads", json=body, headers=headers).status_code == 404
    hook = {"name": "spy", "url": "http://127.0.0.1:9/", "events": ["*"]}
    hook["job_id"] = walk.ids["job_id"]
    assert w.client.post("/v1/webhooks", json=hook, headers=headers).status_code == 404
    assert (
        w.client.post(
            "/v1/channels", json={**hook, "channel": "slack"}, headers=headers
        ).status_code
        == 404
    )
    body = {"job_id": walk.middleman_ids["job_id"]}
    path = f"{MIDDLEMAN}/data/download-url"
    assert w.client.post(path, json=body, headers=headers).status_code == 404
    send = {"filename": "x", "content_type": "a/b", "size_bytes": 1}
    path = f"{MIDDLEMAN}/data/upload-url"
    assert w.client.post(path, params=body, json=send, headers=headers).status_code == 404
    user = {
        "username": "spy", "password": PASSWORD, "role": "admin",
        "account_id": walk.ids["account_id"],
    }  # fmt: skip
    assert w.client.post("/v1/users", json=user, headers=headers).status_code == 403


@pytest.mark.parametrize("name", sorted(STRICT))
@pytest.mark.parametrize(
    "extra", ["owner_id", "account", "state", "balance", "operator_", "_id", "__class__"]
)
def test_mass_assignment_is_refused(walk: Walk, name: str, extra: str) -> None:
    route = next(r for r in ROUTES if r.name == name)
    body = {**BODIES[name], extra: "admin"}
    target = route.path
    for key, value in walk.ids_of(route).items():
        target = target.replace("{" + key + "}", value)
    admin = walk.world.admin.headers
    answer = walk.world.client.request(route.method, target, json=body, headers=admin)
    assert answer.status_code == 400, answer.text
    assert refusal(route, answer)["field"] == extra


def test_an_ordinary_admin_cannot_make_or_touch_an_operator(walk: Walk) -> None:
    w, headers = walk.world, walk.owner.headers
    me = walk.ids["user_id"]
    patch = w.client.patch(f"/v1/users/{me}", json={"operator": True}, headers=headers)
    assert patch.status_code == 403
    boss = w.admin.principal
    second = w.person("deputy", "admin", boss.account_id)
    target = f"/v1/users/{boss.user_id}"
    for method, path, body in (
        ("PATCH", target, {"role": "viewer"}),
        ("PATCH", target, {"disabled": True}),
        ("POST", f"{target}/password", {"password": PASSWORD + "?"}),
    ):
        assert w.client.request(method, path, json=body, headers=second.headers).status_code == 403
