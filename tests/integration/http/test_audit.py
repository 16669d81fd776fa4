"""What lands in the audit log (SECURITY 41), generated from the route tables of all doors.

Each route that changes something is called with success and must add a line, or stands in ``NOT``
with its reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.http.test_guard_walk import MIDDLEMAN_BODIES, NATIVE_BODIES
from tests.support.deps import NO_LIMITS, PASSWORD, Person, World, world

from trainshed.bootstrap.boards import LocalBoards
from trainshed.dialects import middleman, native
from trainshed.dialects.middleman import routes_hooks
from trainshed.dialects.middleman.translate import public_id
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.domain.delivery import DeliveryState
from trainshed.http.guards import Door, Kind, Route
from trainshed.http.hall import HttpSettings
from trainshed.ports.deps import Policy

DOORS = [native.door(), middleman.door(), orchestrator_door(60.0)]
LOOKS = "it changes nothing"
FILES = "files are no act on people, keys, credits or running work; an upload has its own row"
EVENTS = "the owner's work on a job of their own: each step is an event of the job"
BENCH = "what a bench that is attached does all day"
SENT = "a test message; its delivery is listed"

#: (door, route) -> why it writes no line.
NOT = {
    ("native", "POST /jobs/plan"): LOOKS,
    ("native", "POST /schedules/preview"): LOOKS,
    ("native", "POST /downloads"): LOOKS,
    ("native", "POST /boards/{name}/check"): LOOKS,
    ("native", "POST /benches/{bench_id}/renew"): BENCH,
    ("native", "POST /benches/{bench_id}/next"): BENCH,
    ("native", "PUT /benches/{bench_id}/measurements/{measurement_id}"): BENCH,
    ("native", "POST /benches/{bench_id}/measurements/{measurement_id}/failed"): BENCH,
    ("native", "POST /uploads"): FILES,
    ("native", "DELETE /uploads/{upload_id}"): FILES,
    ("native", "POST /jobs"): EVENTS,
    ("native", "POST /jobs/{job_id}/retry"): EVENTS,
    ("native", "PATCH /jobs/{job_id}"): EVENTS,
    ("native", "POST /jobs/{job_id}/pause"): EVENTS,
    ("native", "POST /jobs/{job_id}/resume"): EVENTS,
    ("native", "POST /jobs/{job_id}/checkpoint"): EVENTS,
    ("native", "PATCH /jobs/{job_id}/checkpoints/{artifact_id}"): EVENTS,
    ("native", "POST /webhooks/{webhook_id}/test"): SENT,
    ("native", "POST /channels/{channel_id}/test"): SENT,
    ("middleman", "POST /jobs"): EVENTS,
    ("middleman", "POST /jobs/{job_id}/pause"): EVENTS,
    ("middleman", "POST /jobs/{job_id}/resume"): EVENTS,
    ("middleman", "POST /webhooks/{webhook_id}/test"): SENT,
    ("middleman", "POST /data/upload-url"): FILES,
    ("middleman", "POST /data/download-url"): LOOKS,
}
ORCHESTRATOR_JOB = {
    "name": "walked", "image": "example/trainer:1", "command": ["true"], "schedule": "0 2 1 1 *",
}  # fmt: skip
ORCHESTRATOR_BODIES = {"POST /jobs": ORCHESTRATOR_JOB, "PUT /jobs/{job_id}": {"max_retries": 1}}
BODIES: dict[str, dict[str, Any]] = {
    "native": NATIVE_BODIES, "middleman": MIDDLEMAN_BODIES, "orchestrator": ORCHESTRATOR_BODIES,
}  # fmt: skip


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


WRITING = [
    (door, route)
    for door in DOORS
    for route in door.routes
    if route.guard is not None and route.method != "GET" and route.guard.kind is not Kind.PUBLIC
]
AUDITED = [(d, r) for d, r in WRITING if (d.name, name_of(r)) not in NOT]


def test_exceptions_are_of_routes_that_exist() -> None:
    assert set(NOT) <= {(d.name, name_of(r)) for d, r in WRITING}


@pytest.fixture(scope="module")
def w() -> Iterator[World]:
    policy = Policy(min_free_bytes=0, sign_up_open=True, cpu_fallback=True)
    patch = pytest.MonkeyPatch()
    patch.setattr(routes_hooks, "TEST_S", 0.0)  # nobody carries anything out here
    settings = HttpSettings(rate_limits=NO_LIMITS, version="0.0.test")
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder), policy, settings, doors=DOORS, deps={"boards": LocalBoards()}) as one,
    ):
        yield one
        assert one.deps.store.verify() == []
    patch.undo()


_made = iter(range(10_000))


def own(w: World) -> Person:
    """An admin of a fresh account with credits, who is an operator nowhere."""
    who = w.person(f"person{next(_made)}")
    w.credits(who)
    return who


def schedule(w: World, who: Person) -> str:
    """A Schedule whose Job has ended."""
    body = {"name": "nightly", "cron": "0 2 * * *", "job": {"command": ["true"]}}
    made = w.client.post("/v1/schedules", json=body, headers=who.headers).json()["id"]
    run = w.client.post(f"/v1/schedules/{made}/run-now", headers=who.headers).json()
    w.client.post(f"/v1/jobs/{run['last_job_id']}/cancel", headers=who.headers)
    return str(made)


def training(w: World, who: Person, path: str) -> str:
    """An Orchestrator job; one to be retried has run."""
    body = {**ORCHESTRATOR_JOB, "name": "mine"}
    made = w.client.post("/orchestrator/jobs", json=body, headers=who.headers)
    assert made.status_code == 201, made.text
    job_id = str(made.json()["job_id"])
    if path.endswith("/retry"):
        w.client.post(f"/orchestrator/jobs/{job_id}/run-now", headers=who.headers)
        run = w.client.get("/v1/jobs", headers=who.headers).json()["items"][0]["id"]
        w.client.post(f"/v1/jobs/{run}/cancel", headers=who.headers)
    return job_id


def job(w: World, who: Person, door: Door, route: Route) -> str:
    if door.name == "orchestrator":
        return training(w, who, route.path)
    if door.name == "middleman":
        w.upload(who, "train.py", b"")
        body = MIDDLEMAN_BODIES["POST /jobs"]
        made = w.client.post("/middleman/api/v1/jobs", json=body, headers=who.headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])
    made_id = w.submit(who)
    if route.method == "DELETE":
        w.client.post(f"/v1/jobs/{made_id}/cancel", headers=who.headers)
    return made_id


def key(w: World, who: Person, door: Door) -> str:
    if door.name == "middleman":
        return public_id(w.key(who.principal, prefix="mdlm_").key.id)
    return w.key(who.principal).key.id


def hook_and_delivery(w: World, who: Person, door: Door) -> tuple[str, str]:
    """A webhook with a dead delivery."""
    hook, told = w.webhook(who, door.prefix)
    (core,) = w.deps.store.read(lambda tx: tx.deliveries.subscriptions(who.principal.account_id))

    def kill(tx: Any) -> None:
        one = tx.deliveries.claim(core.id, w.clock.utc_now(), w.clock.utc_now(), 100)
        for each in one:
            tx.deliveries.settle(dead(each, w))

    w.deps.store.write(kill)
    return hook, told


def dead(one: Any, w: World) -> Any:
    return replace(one, state=DeliveryState.DEAD, done_at=w.clock.utc_now())


def bench(w: World, who: Person) -> str:
    body = NATIVE_BODIES["POST /benches"]
    return str(w.client.post("/v1/benches", json=body, headers=who.headers).json()["id"])


def filled(w: World, who: Person, door: Door, route: Route) -> str:
    """The path with the ids of fresh objects of ``who``."""
    path = door.prefix + route.path
    if "{registry}" in path:
        login = {"registry": "ghcr.io", "username": "x", "password": "walked"}
        w.client.put("/v1/registries", json=login, headers=who.headers)
    home = who.principal.account_id
    makers = {
        "job_id": lambda: job(w, who, door, route),
        "key_id": lambda: key(w, who, door),
        "user_id": lambda: w.person(f"other{next(_made)}", "member", home).principal.user_id,
        "account_id": lambda: home,
        "offer_id": lambda: "local",
        "registry": lambda: "ghcr.io",
        "schedule_id": lambda: schedule(w, who),
        "channel_id": lambda: w.channel(who),
        "bench_id": lambda: bench(w, who),
    }
    for name, make in makers.items():
        if "{" + name + "}" in path:
            path = path.replace("{" + name + "}", make() or "")
    if "{webhook_id}" in path:
        hook, told = hook_and_delivery(w, who, door)
        path = path.replace("{webhook_id}", hook).replace("{delivery_id}", told)
    return path


@pytest.mark.parametrize(
    ("door", "route"), AUDITED, ids=[f"{d.name} {name_of(r)}" for d, r in AUDITED]
)
def test_each_act_adds_a_line(w: World, door: Door, route: Route) -> None:
    assert route.guard is not None
    who = w.admin if route.guard.kind is Kind.OPERATOR else own(w)
    body = BODIES[door.name].get(name_of(route))
    headers = who.headers
    if name_of(route) == "POST /me/password":
        body = {"old_password": PASSWORD, "new_password": PASSWORD + " anew"}
    if name_of(route) == "POST /logout":
        login = {"username": who.principal.username, "password": PASSWORD}
        token = w.client.post("/v1/login", json=login).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
    path = filled(w, who, door, route)
    before = newest(w)
    answer = w.client.request(route.method, path, json=body, headers=headers)
    assert answer.status_code < 300, answer.text
    after = newest(w)
    assert after.seq > before.seq, "no line in the audit log"
    assert after.actor in (who.principal.user_id, who.principal.id)
    assert after.action.partition(".")[2]
    assert "walked" not in str(dict(after.data).get("password", ""))


def newest(w: World) -> Any:
    return w.deps.store.read(lambda tx: tx.records.audit_page(None, None, 1))[0]
