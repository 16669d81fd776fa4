"""The real wings in a temporary folder, but a fake executor: everything HTTP needs, no runner."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.routing import request_response
from starlette.testclient import TestClient
from tests.support import stores

from trainshed.blobs.local import LocalBlobs
from trainshed.bootstrap import registry
from trainshed.bootstrap.bus import LoopBus
from trainshed.bootstrap.clock import SystemClock, SystemIds
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.channels.outbound import GuardedHttp
from trainshed.dialects.middleman.events import MiddlemanWords
from trainshed.dialects.native import door
from trainshed.domain import outbound
from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Attempt
from trainshed.domain.people import Principal
from trainshed.domain.pricing import BOARDS
from trainshed.domain.resources import Pool
from trainshed.domain.states import AttemptState
from trainshed.http import app as app_module
from trainshed.http.app import create_app
from trainshed.http.entry import GuardedRoute
from trainshed.http.guards import Door, Route
from trainshed.http.hall import ADDRESS, STANDARD, Hall, HttpSettings
from trainshed.ports.channel import Channel, Mail, Surroundings
from trainshed.ports.deps import Deps, Policy
from trainshed.ports.views import KeyView
from trainshed.store.engine import open_store
from trainshed.testing.fakes import FakeExecutor
from trainshed.usecases import accounts, keys
from trainshed.workloads.board.plan import BoardWorkload
from trainshed.workloads.command.plan import CommandWorkload

PASSWORD = "a long enough passphrase"
BASE = "http://127.0.0.1:8000"
POOLS = (
    Pool("local-cpu", None, 0, 1_000_000),
    Pool("a100", "a100", 80 * 1024**3, 50_000_000, 1_000_000, 1_000_000),
    BOARDS,
)
#: Nobody listens there.
MAIL = Mail("127.0.0.1", 9, "shed@example.org")
#: Plenty for a test that walks every route.
NO_LIMITS: Mapping[str, int] = {STANDARD: 0, ADDRESS: 0}


class MovedClock(SystemClock):
    """The real clocks, plus what a test has added to both."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = 0.0

    def utc_now(self) -> datetime.datetime:
        return super().utc_now() + datetime.timedelta(seconds=self.extra)

    def monotonic(self) -> float:
        return super().monotonic() + self.extra

    def advance(self, seconds: float) -> None:
        self.extra += seconds


class QuickSecrets(FileSecrets):
    """The real secrets, but passwords cost nothing: what they cost has a test of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


_routes: dict[tuple[str, str, str], GuardedRoute] = {}


def _route(path: str, hall: Hall, door: Door, entry: Route) -> GuardedRoute:
    """Return a route; what FastAPI finds out of its endpoint is found out once a run."""
    key = (door.name, path, entry.method)
    kept = _routes.get(key)
    if kept is None or kept.entry != entry or kept.strict != door.strict:
        kept = _routes[key] = GuardedRoute(path, hall, door, entry)
    made = copy.copy(kept)
    made.hall = hall
    made.app = request_response(made.get_route_handler())
    return made


@dataclass
class Person:
    """A user with an API key of full right."""

    principal: Principal
    key: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.key}"}


@dataclass
class World:
    """A server without sockets: its wings, its app, and people to call it."""

    deps: Deps
    clock: MovedClock
    executor: FakeExecutor
    app: FastAPI
    client: TestClient
    admin: Person

    def person(
        self, name: str, role: str = "admin", account_id: str | None = None, **key: Any
    ) -> Person:
        """Make a user (in an account of its own unless one is given) and its key."""
        boss = self.admin.principal
        if account_id is None:
            account_id = accounts.create_account(self.deps, boss, name, None, 1).account.id
        user = accounts.create_user(self.deps, boss, name, PASSWORD, role, account_id)
        right = accounts.ROLES[role]
        principal = Principal(account_id, user.id, right, username=name)
        scopes = tuple(s for s in ("read", "write", "admin") if keys.SCOPES[s] <= right)
        return Person(principal, self.key(principal, scopes=scopes, **key).secret or "")

    def key(self, principal: Principal, **wanted: Any) -> KeyView:
        """Make a key."""
        return keys.create(self.deps, principal, keys.NewKey("test", **wanted))

    def credits(self, person: Person, ucredits: int = 1_000_000_000) -> None:
        """Give credits."""
        accounts.grant(
            self.deps, self.admin.principal, person.principal.account_id, ucredits,
            accounts.Unit.CREDIT, "",
        )  # fmt: skip

    def submit(self, person: Person, **spec: Any) -> str:
        """Submit a Job over HTTP."""
        body = {"command": ["true"], **spec}
        made = self.client.post("/v1/jobs", json=body, headers=person.headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def lease(self, person: Person, job_id: str, token: str = "") -> Attempt:
        """Make a running Attempt of a Job; ``token`` is its job token's text."""
        now = self.clock.utc_now()
        attempt_id = self.deps.ids.new("attempt")
        secret = token or f"tsj_{attempt_id[4:]}_{self.deps.ids.token(32)}"
        one = Attempt(
            attempt_id, job_id, person.principal.account_id, 1, 1, "local", "process",
            "local-cpu", 1000, 1024**3, now, state=AttemptState.RUNNING, started_at=now,
            job_token_hash=self.deps.secrets.digest(secret),
        )  # fmt: skip

        def apply(tx: Any) -> None:
            job = tx.jobs.get(job_id)
            tx.jobs.save(dataclasses.replace(job, n_attempts=1))
            tx.attempts.insert(one)

        self.deps.store.write(apply)
        return dataclasses.replace(one, message=secret)

    def artifact(
        self, person: Person, job_id: str, attempt_id: str, files: Mapping[str, bytes]
    ) -> Artifact:
        """Store files as a Job's output."""
        refs = tuple(FileRef(p, self.blob(person, data)) for p, data in files.items())
        one = Artifact(
            self.deps.ids.new("artifact"), person.principal.account_id, job_id, attempt_id,
            ArtifactKind.ARTIFACT, "0" * 32 + ".dir", refs, self.clock.utc_now(),
        )  # fmt: skip
        self.deps.store.write(lambda tx: tx.files.insert_artifact(one))
        return one

    def blob(self, person: Person, data: bytes) -> BlobRef:
        """Store bytes."""
        writer = self.deps.blobs.writer(person.principal.account_id)
        writer.write(data)
        return writer.commit()

    def webhook(self, person: Person, root: str = "/v1") -> tuple[str, str]:
        """Make a webhook and a test delivery of it at one of the doors; return both ids."""
        body = {"name": "hook", "url": "http://127.0.0.1:9/", "events": ["*"]}
        made = self.client.post(f"{root}/webhooks", json=body, headers=person.headers)
        assert made.status_code == 201, made.text
        hook = str(made.json()["id"])
        told = self.client.post(f"{root}/webhooks/{hook}/test", headers=person.headers)
        assert told.status_code < 300, told.text
        return hook, str(told.json()["id"])

    def channel(self, person: Person) -> str:
        """Make an e-mail channel."""
        body = {"channel": "email", "name": "mail", "to": ["a@example.org"], "events": ["job.*"]}
        made = self.client.post("/v1/channels", json=body, headers=person.headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def upload(self, person: Person, path: str, data: bytes) -> str:
        """Send a file over HTTP."""
        body = {"path": path, "size_bytes": len(data)}
        made = self.client.post("/v1/uploads", json=body, headers=person.headers)
        assert made.status_code == 201, made.text
        put = self.client.put(made.json()["url"], content=data)
        assert put.status_code == 201, put.text
        return str(made.json()["id"])


def make_channels(
    allow: Sequence[str] = ("127.0.0.0/8",), mail: Mail | None = None
) -> dict[str, Channel]:
    """Return every channel; loopback is allowed unless ``allow`` says otherwise."""
    around = Surroundings(GuardedHttp(outbound.rules(allow, [80, 443], [])), mail or MAIL, BASE)
    return {name: registry.load(m)(around) for name, m in registry.discover("channels").items()}


def make_deps(folder: Path, policy: Policy | None = None) -> tuple[Deps, MovedClock, FakeExecutor]:
    """Return the wings on SQLite in ``folder``."""
    clock, executor = MovedClock(), FakeExecutor()
    deps = Deps(
        store=open_store(stores.sqlite(folder / "trainshed.db")),
        blobs=LocalBlobs(folder / "blobs"),
        clock=clock,
        ids=SystemIds(),
        secrets=QuickSecrets(folder / "secrets"),
        bus=LoopBus(),
        executors={"process": executor},
        workloads={"command": CommandWorkload(), "board": BoardWorkload()},
        pools=POOLS,
        policy=policy or Policy(min_free_bytes=0, sign_up_open=True),
        runner_url="unix:/nowhere",
        public_url=BASE,
        channels=make_channels(),
        words={"middleman": MiddlemanWords()},
    )
    return deps, clock, executor


@contextlib.contextmanager
def world(
    folder: Path, policy: Policy | None = None, settings: HttpSettings | None = None, **app: Any
) -> Iterator[World]:
    """A whole app on real wings, closed at the end."""
    deps, clock, executor = make_deps(folder, policy)
    deps = dataclasses.replace(deps, **app.get("deps", {}))
    try:
        settings = settings or HttpSettings(rate_limits=NO_LIMITS, version="0.0.test")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app_module, "GuardedRoute", _route)
            made = create_app(deps, settings, app.get("doors") or [door()])
        first = accounts.bootstrap_admin(deps, PASSWORD)
        scopes = ("read", "write", "admin")
        key = keys.create(deps, first.principal, keys.NewKey("admin", scopes)).secret or ""
        with TestClient(made, base_url=BASE, raise_server_exceptions=False) as client:
            yield World(deps, clock, executor, made, client, Person(first.principal, key))
    finally:
        deps.store.close()


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free loopback port, in a thread; its lifespan is someone else's."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
