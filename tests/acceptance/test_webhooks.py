"""Webhooks out of a real server: nothing lost over kill -9, bad endpoints and two servers (G15)."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiosmtpd.controller import Controller
from standardwebhooks import Webhook
from tests.support.server import Api, doctor, eventually, running
from tests.support.sink import Got, Sink, sinking

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
EVENTS = 10_000 if FULL else 240
OPEN = {
    "TRAINSHED_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
    "TRAINSHED_RATE_LIMIT_PER_MINUTE": "10000000",
}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as made:
        yield made


def hook(api: Api, url: str, *events: str, **more: Any) -> dict[str, Any]:
    body = {"name": "test", "url": url, "events": list(events) or ["*"], **more}
    return api.ok(api.http.post("/v1/webhooks", json=body))


def quiet_job(api: Api) -> str:
    """A Job that never runs, and tells of every change of its priority."""
    job_id = api.submit(["true"], resources={"cpus": 0.05})
    api.wait(job_id)
    job_id = api.submit(["sleep", "300"], resources={"cpus": 0.05})
    api.wait(job_id, "RUNNING")
    return job_id


def bump(api: Api, job_id: str, n: int) -> None:
    for i in range(n):
        api.ok(api.http.patch(f"/v1/jobs/{job_id}", json={"priority": i % 900}))


def expected(api: Api, kind: str, job_id: str) -> set[int]:
    found, seq = set(), 0
    while True:
        params: dict[str, Any] = {"after_seq": seq, "limit": 200}
        items = api.ok(api.http.get(f"/v1/jobs/{job_id}/events", params=params))["items"]
        if not items:
            return found
        seq = items[-1]["seq"]
        found |= {e["seq"] for e in items if e["kind"] == kind}


def seqs(got: list[Got]) -> set[int]:
    return {g.event["data"]["seq"] for g in got}


def test_a_jobs_life_arrives_signed(sink: Sink, tmp_path: Path) -> None:
    with running(tmp_path / "data", **OPEN) as server:
        api = Api(server)
        made = hook(api, sink.url("/ok"), "job.*")
        job_id = api.python("print('hi')")
        api.wait(job_id)
        kinds = {"job.queued", "job.starting", "job.running", "job.succeeded"}
        eventually(lambda: kinds <= {g.event["type"] for g in sink.at("/ok")}, 30, "all arrive")
        for one in sink.at("/ok"):
            told = Webhook(made["secret"]).verify(one.body, one.headers)
            assert told["data"]["job_id"] == job_id
            assert told["data"]["job"]["name"] == "test"
        assert len({g.id for g in sink.at("/ok")}) == len(sink.at("/ok"))
        path = f"/v1/webhooks/{made['id']}/deliveries"
        eventually(
            lambda: {d["state"] for d in api.ok(api.http.get(path))["items"]} == {"delivered"}, 10
        )
        assert made["secret"] not in server.log()
        assert made["secret"].encode() not in b"".join(
            p.read_bytes() for p in server.data.glob("trainshed.db*")
        )
        assert "secret" not in api.ok(api.http.get(f"/v1/webhooks/{made['id']}"))


def test_nothing_is_lost_over_kills_and_bad_endpoints(sink: Sink, tmp_path: Path) -> None:
    with running(tmp_path / "data", **OPEN) as server:
        api = Api(server)
        bad = ["/fail", "/hang", "/redirect", "/slow", "/big"]
        paths = ["/ok", "/flaky"]
        ids = {p: hook(api, sink.url(p), "job.priority")["id"] for p in [*paths, *bad]}
        job_id = quiet_job(api)
        rounds = 6 if FULL else 3
        for _ in range(rounds):
            bump(api, job_id, EVENTS // rounds)
            server.kill()
            server.start()
            api = Api(server)
        wanted = expected(api, "job.priority", job_id)
        assert len(wanted) == EVENTS // rounds * rounds
        for path in paths:
            eventually(
                lambda p=path: (
                    {g.event["data"]["seq"] for g in sink.at(p) if p == "/ok" or again(sink, p, g)}
                    == wanted
                ),
                600 if FULL else 100,
                f"all arrive at {path}",
            )  # type: ignore[misc]
        by_event: dict[tuple[str, int], set[str]] = {}
        for one in sink.got:
            if one.path != "/trap":
                by_event.setdefault((one.path, one.event["data"]["seq"]), set()).add(one.id)
        assert {len(found) for found in by_event.values()} == {1}, "a repeat keeps its id"
        assert sink.at("/trap") == [], "a redirect was followed"
        for path, status in (("/redirect", 302), ("/fail", 500), ("/big", 200)):
            one = f"/v1/webhooks/{ids[path]}/deliveries/{sink.at(path)[0].id}"
            eventually(lambda p=one: api.ok(api.http.get(p))["status"], 60, path)  # type: ignore[misc]
            shown = api.ok(api.http.get(one))
            assert shown["status"] == status
            assert len(shown["response"]) <= 4096
        api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
        api.wait(job_id)
        assert doctor(server) == []


def again(sink: Sink, path: str, one: Got) -> bool:
    """Whether a flaky endpoint has been tried a second time."""
    return sink.tries[path, one.id] >= 2


@pytest.mark.alone
def test_dead_endpoints_delay_nobody_else(sink: Sink, tmp_path: Path) -> None:
    n = 200 if FULL else 30
    with running(tmp_path / "data", **OPEN) as server:
        api = Api(server)
        hook(api, sink.url("/ok"), "job.priority")
        job_id = quiet_job(api)

        def worst() -> float:
            late = []
            for i in range(n):
                before = len(sink.at("/ok"))
                begun = time.monotonic()
                bump(api, job_id, 1)
                eventually(lambda b=before: len(sink.at("/ok")) > b, 60, f"event {i}")  # type: ignore[misc]
                late.append(time.monotonic() - begun)
            return sorted(late)[int(n * 0.9)]

        alone = worst()
        for i in range(10):
            hook(api, sink.url(f"/hang/{i}"), "job.priority")
        hook(api, "http://127.0.0.1:9/", "job.priority")
        beside = worst()
        print(f"event to delivery p90: {alone:.3f} s alone, {beside:.3f} s beside 11 dead ones")
        assert beside <= alone * 5 + 1.0


def test_dead_letters_are_replayed_under_their_ids(sink: Sink, tmp_path: Path) -> None:
    with running(tmp_path / "data", **OPEN) as server:
        api = Api(server)
        made = hook(api, sink.url("/ok"), "job.queued")
        path = f"/v1/webhooks/{made['id']}"
        told = api.ok(api.http.post(f"{path}/test"))
        eventually(lambda: sink.at("/ok"), 20)
        assert sink.at("/ok")[0].event["type"] == "test"
        one = f"{path}/deliveries/{told['id']}"
        eventually(lambda: api.ok(api.http.get(one))["state"] == "delivered", 10)
        api.ok(api.http.post(f"{one}/replay"))
        eventually(lambda: len(sink.at("/ok")) == 2, 20)
        assert {g.id for g in sink.at("/ok")} == {told["id"]}
        rotated = api.ok(api.http.post(f"{path}/rotate"))
        assert rotated["secret"] != made["secret"]
        api.ok(api.http.post(f"{path}/test"))
        eventually(lambda: len(sink.at("/ok")) == 3, 20)
        last = sink.at("/ok")[-1]
        for secret in (made["secret"], rotated["secret"]):
            Webhook(secret).verify(last.body, last.headers)


def test_two_servers_on_postgresql_share_the_work(
    pg_server: Callable[[], str], sink: Sink, tmp_path: Path
) -> None:
    url = pg_server()
    with ExitStack() as stack:
        first = stack.enter_context(running(tmp_path / "one", "--database", url, **OPEN))
        (tmp_path / "two").mkdir()
        shutil.copytree(first.data / "secrets", tmp_path / "two" / "secrets")
        second = stack.enter_context(running(tmp_path / "two", "--database", url, **OPEN))
        api, other = Api(first), Api(second, first.credentials["api_key"])
        hook(api, sink.url("/ok"), "job.queued")
        jobs = [
            (api if i % 2 else other).submit(["true"], resources={"cpus": 0.05}) for i in range(30)
        ]
        eventually(
            lambda: {g.event["data"]["job_id"] for g in sink.at("/ok")} >= set(jobs), 60, "all"
        )
        time.sleep(1)
        assert set(Counter(g.id for g in sink.at("/ok")).values()) == {1}, "each once"


def example() -> Callable[[str, dict[str, str], bytes], bool]:
    """The verification that docs/webhooks.md shows."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    space: dict[str, Any] = {}
    exec(code, space)
    return space["verify"]  # type: ignore[no-any-return]


def test_the_documented_commands_and_verification(sink: Sink, tmp_path: Path) -> None:
    with running(tmp_path / "data", **OPEN) as server:
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        home |= {"TRAINSHED_URL": server.url, "TRAINSHED_API_KEY": server.credentials["api_key"]}

        def cli(*args: str) -> Any:
            command = [str(Path(sys.executable).parent / "trainshed"), *args, "--json"]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=home, check=False
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        made = cli("webhooks", "create", "ci", sink.url("/ok"), "--event", "job.*")
        assert [w["id"] for w in cli("webhooks", "list")] == [made["id"]]
        assert "job.failed" in {e["kind"] for e in cli("webhooks", "events")}
        cli("webhooks", "test", "ci")
        eventually(lambda: sink.at("/ok"), 20)
        one, verify = sink.at("/ok")[0], example()
        assert verify(made["secret"], one.headers, one.body)
        assert not verify(made["secret"], one.headers, one.body + b" ")
        assert not verify("whsec_" + "A" * 43 + "=", one.headers, one.body)
        late = {**one.headers, "webhook-timestamp": str(int(time.time()) - 400)}
        assert not verify(made["secret"], late, one.body)
        eventually(
            lambda: (
                [d["state"] for d in cli("webhooks", "deliveries", made["id"])] == ["delivered"]
            ),
            20,
        )
        assert cli("webhooks", "replay", made["id"], one.id) == {"replayed": 1}
        eventually(lambda: len(sink.at("/ok")) == 2, 20)
        assert cli("webhooks", "replay", made["id"], "--dead") == {"replayed": 0}
        assert cli("webhooks", "rotate", "ci", "--yes")["secret"] != made["secret"]
        cli("channels", "create", "slack", "team", sink.url("/ok/slack"))
        cli("channels", "test", "team")
        eventually(lambda: sink.at("/ok/slack"), 20)
        assert [c["target"] for c in cli("channels", "list")] == [sink.url("/***")]
        cli("webhooks", "delete", made["id"][:12], "--yes")
        cli("channels", "delete", "team", "--yes")
        assert cli("webhooks", "list") == cli("channels", "list") == []


def test_mail_leaves_a_real_server_by_the_documents_names(tmp_path: Path) -> None:
    class Box:
        got: ClassVar[list[Any]] = []

        async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
            self.got.append(envelope)
            return "250 taken"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mail = Controller(Box(), hostname="127.0.0.1", port=port)
    mail.start()
    names = {
        "SMTP_SERVER": "127.0.0.1", "SMTP_PORT": str(port), "SENDER_EMAIL": "shed@example.org",
        "RECIPIENT_EMAILS": "ops@example.org",
    }  # fmt: skip
    try:
        with running(tmp_path / "data", **OPEN, **names) as server:
            api = Api(server)
            body = {"channel": "email", "name": "me", "to": ["me@example.org"]}
            api.ok(api.http.post("/v1/channels", json={**body, "events": ["job.failed"]}))
            job_id = api.python("raise SystemExit(3)", name="nightly")
            api.wait(job_id)
            eventually(lambda: Box.got, 30, "the mail")
            time.sleep(1)
    finally:
        mail.stop()
    (letter,) = Box.got
    assert letter.rcpt_tos == ["me@example.org"]
    assert b"Subject: Training Job FAILED: nightly" in letter.content
    assert job_id.encode() in letter.content.replace(b"=\r\n", b"")
