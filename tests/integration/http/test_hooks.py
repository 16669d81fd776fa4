"""Webhooks and channels over HTTP: made, shown, changed, rotated, bounded, kept secret."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.deps import World
from tests.support.sink import sinking

from trainshed.bootstrap.courier import Courier
from trainshed.bootstrap.operator import EMAIL_ID, SLACK_ID, operator_channels
from trainshed.bootstrap.settings import Settings
from trainshed.domain.events import KINDS, Event
from trainshed.usecases import deliveries, subscriptions
from trainshed.usecases.traffic import Traffic

URL = "http://127.0.0.1:9/in?token=canary-in-the-url"


def post(w: World, path: str, body: Any = None) -> Any:
    answer = w.client.post(f"/v1{path}", json=body, headers=w.admin.headers)
    assert answer.status_code < 300, answer.text
    return answer.json()


def get(w: World, path: str) -> Any:
    answer = w.client.get(f"/v1{path}", headers=w.admin.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(w: World, path: str, body: Any) -> tuple[int, str | None]:
    answer = w.client.post(f"/v1{path}", json=body, headers=w.admin.headers)
    return answer.status_code, answer.json().get("field")


def carry(w: World, until: int, timeout_s: float = 20.0, sink: Any = None) -> None:
    """Let the server's courier work until the sink has taken ``until`` requests."""

    async def main() -> None:
        courier = Courier(w.deps, lambda fn, *args: asyncio.to_thread(fn, *args))
        ends = asyncio.get_running_loop().time() + timeout_s

        async def always(step: Any) -> None:
            while True:
                await step()

        tasks = [asyncio.create_task(always(s)) for s in (courier.fan_out, courier.send)]
        while len(sink.got) < until and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await courier.stop()
        for channel in w.deps.channels.values():
            if outbound := getattr(channel, "_outbound", None):
                await outbound.aclose()
                outbound._pool = None

    asyncio.run(main())


def test_a_webhooks_life(w: World) -> None:
    made = post(w, "/webhooks", {"name": "ci", "url": URL, "events": ["job.*"]})
    assert made["secret"].startswith("whsec_")
    path = f"/webhooks/{made['id']}"
    shown = get(w, path)
    assert shown == {k: v for k, v in made.items() if k != "secret"}
    assert (shown["health"], shown["active"], shown["url"]) == ("active", True, URL)
    assert get(w, "/webhooks")["items"] == [shown]
    assert get(w, "/channels")["items"] == []
    patch = {"name": "new", "events": ["job.failed"], "active": False}
    changed = w.client.patch(f"/v1{path}", json=patch, headers=w.admin.headers).json()
    assert {k: changed[k] for k in patch} == patch
    assert changed["health"] == "inactive"
    assert w.client.post(f"/v1{path}/test", headers=w.admin.headers).status_code == 409
    rotated = post(w, f"{path}/rotate")
    assert rotated["secret"] != made["secret"]
    gone = w.client.delete(f"/v1{path}", headers=w.admin.headers)
    assert gone.status_code == 204
    assert w.client.get(f"/v1{path}", headers=w.admin.headers).status_code == 404
    actions = [line["action"] for line in get(w, "/audit")["items"]]
    assert actions[:4] == ["webhook.delete", "webhook.rotate", "webhook.update", "webhook.create"]


def test_bad_input_names_its_field(w: World) -> None:
    good = {"name": "x", "url": URL, "events": ["*"]}
    assert refused(w, "/webhooks", {**good, "events": ["job.exploded"]}) == (400, "events")
    assert refused(w, "/webhooks", {**good, "url": "ftp://x/"}) == (400, "url")
    assert refused(w, "/webhooks", {**good, "url": "http://10.0.0.1/"}) == (400, "url")
    assert refused(w, "/webhooks", {**good, "name": "a\nb"}) == (400, "name")
    assert refused(w, "/webhooks", {**good, "job_id": "job_" + "0" * 32})[0] == 404
    slack = {"channel": "slack", "name": "x", "events": ["*"]}
    assert refused(w, "/channels", slack) == (400, "url")
    mail = {"channel": "email", "name": "x", "events": ["*"]}
    for to in (["nobody"], ["a@b\r\nBcc: c@d.org"], ["<a@example.org>"], ["a@b.org, c@d.org"]):
        assert refused(w, "/channels", {**mail, "to": to}) == (400, "to")
    assert refused(w, "/channels", {**mail, "channel": "webhook"})[0] == 400


def test_the_number_of_each_is_bounded(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_EACH", 2)
    for _ in range(2):
        post(w, "/webhooks", {"name": "x", "url": URL, "events": ["*"]})
    assert refused(w, "/webhooks", {"name": "x", "url": URL, "events": ["*"]})[0] == 409
    w.channel(w.admin)
    w.channel(w.admin)
    mail = {"channel": "email", "name": "x", "events": ["*"], "to": ["a@example.org"]}
    assert refused(w, "/channels", mail)[0] == 409


def test_secrets_are_sealed_and_slacks_address_is_masked(w: World) -> None:
    made = post(w, "/webhooks", {"name": "x", "url": URL, "events": ["*"]})
    slack = {"channel": "slack", "name": "x", "events": ["*"], "url": URL}
    channel = post(w, "/channels", slack)
    assert channel["target"] == "http://127.0.0.1:9/***"
    found = w.deps.store.read(lambda tx: tx.deliveries.subscriptions(w.admin.principal.account_id))
    for one in found:
        assert b"canary" not in one.sealed
        assert made["secret"].encode() not in one.sealed
        assert "sealed" not in repr(one)


def test_kinds_are_listed(w: World) -> None:
    items = get(w, "/webhooks/events")["items"]
    assert {i["kind"] for i in items} == set(KINDS)


def test_one_job_only(w: World) -> None:
    with sinking() as sink:
        w.credits(w.admin)
        mine, other = w.submit(w.admin), w.submit(w.admin)
        body = {"name": "x", "url": sink.url("/ok"), "events": ["*"], "job_id": mine}
        post(w, "/webhooks", body)
        for job_id in (other, mine):
            post(w, f"/jobs/{job_id}/pause")
        carry(w, 2, sink=sink)
        assert {g.event["data"]["job_id"] for g in sink.got} == {mine}
        assert "job.paused" in {g.event["type"] for g in sink.got}


def test_what_happened_before_or_while_off_is_not_sent(w: World) -> None:
    with sinking() as sink:
        w.credits(w.admin)
        w.submit(w.admin)
        made = post(w, "/webhooks", {"name": "x", "url": sink.url("/ok"), "events": ["job.queued"]})
        path = f"/v1/webhooks/{made['id']}"
        w.client.patch(path, json={"active": False}, headers=w.admin.headers)
        w.submit(w.admin)
        w.client.patch(path, json={"active": True}, headers=w.admin.headers)
        after = w.submit(w.admin)
        carry(w, 1, sink=sink)
        assert [g.event["data"]["job_id"] for g in sink.got] == [after]


def test_another_accounts_events_never_arrive(w: World) -> None:
    with sinking() as sink:
        one, two = w.person("one"), w.person("two")
        for person in (one, two):
            w.credits(person)
            body = {"name": "x", "url": sink.url(f"/ok/{person.principal.account_id}")}
            body |= {"events": ["*"]}  # type: ignore[dict-item]
            made = w.client.post("/v1/webhooks", json=body, headers=person.headers)
            assert made.status_code == 201
            w.submit(person)
        carry(w, 4, sink=sink)
        assert {p.path for p in sink.got} == {f"/ok/{p.principal.account_id}" for p in (one, two)}
        for got in sink.got:
            assert got.path.endswith(got.event["data"]["account_id"])


def test_a_paced_channel_defers_and_loses_nothing(w: World) -> None:
    """Slack takes one message a second: what is too much waits, due, and goes later."""
    with sinking() as sink:
        slack = {"channel": "slack", "name": "x", "events": ["job.queued"], "url": sink.url("/ok")}
        made = post(w, "/channels", slack)
        account = w.admin.principal.account_id
        now = w.clock.utc_now()
        for _ in range(30):
            w.deps.store.write(lambda tx: tx.events.append(Event("job.queued", account, now)))
        deliveries.fan_out(w.deps, deliveries.cursor(w.deps))
        traffic, sent = Traffic(), []
        for _ in range(60):
            tries = deliveries.claim(w.deps, traffic)
            sent.append(len(tries))
            for one in tries:
                w.deps.store.write(
                    deliveries.settling(w.deps, one, deliveries.Sent(True, 200), 0.1)
                )
                traffic.end(one.subscription)
            w.clock.advance(0.5)
        assert sum(sent) == 30
        assert sum(sent[:4]) <= 8
        states = {d["state"] for d in get(w, f"/channels/{made['id']}/deliveries")["items"]}
        assert states == {"delivered"}


def test_the_operators_own_channels(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with sinking() as sink:
        for name in ("SMTP_SERVER", "SENDER_EMAIL", "RECIPIENT_EMAILS", "SLACK_WEBHOOK_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SLACK_WEBHOOK_URL", sink.url("/ok/slack"))
        monkeypatch.setenv("SMTP_SERVER", "127.0.0.1")
        monkeypatch.setenv("SMTP_PORT", "2525")
        monkeypatch.setenv("SENDER_EMAIL", "shed@example.org")
        monkeypatch.setenv("SENDER_PASSWORD", "canary")
        monkeypatch.setenv("RECIPIENT_EMAILS", "a@example.org, b@example.org")
        settings = Settings(_env_file=None)
        assert settings.recipient_emails == ["a@example.org", "b@example.org"]
        assert settings.smtp_port == 2525
        assert "canary" not in repr(settings)
        operator_channels(w.deps, settings)
        operator_channels(w.deps, settings)
        account, now = w.admin.principal.account_id, w.clock.utc_now()

        def tell(kind: str, job_id: str | None) -> None:
            w.deps.store.write(lambda tx: tx.events.append(Event(kind, account, now, job_id)))

        w.credits(w.admin)
        other = w.submit(w.admin)
        theirs = w.submit(w.admin)
        w.deps.store.write(
            lambda tx: tx.jobs._link.run(  # type: ignore[attr-defined]
                "UPDATE jobs SET dialect = 'orchestrator' WHERE id = ?", (theirs,)
            )
        )
        for job_id in (other, theirs):
            for kind in ("job.running", "job.retrying", "job.succeeded"):
                tell(kind, job_id)
        carry(w, 2, sink=sink)
        titles = [g.event["attachments"][0]["title"] for g in sink.got]
        assert sorted(t.split(":")[0] for t in titles) == [
            "Training Job COMPLETED", "Training Job RETRYING",
        ]  # fmt: skip
        waiting = w.deps.store.read(lambda tx: tx.deliveries.page(EMAIL_ID, None, None, 10))
        assert len(waiting) == 2
        assert w.client.get(f"/v1/channels/{SLACK_ID}", headers=w.admin.headers).status_code == 404
        monkeypatch.delenv("SLACK_WEBHOOK_URL")
        operator_channels(w.deps, Settings(_env_file=None))
        heard = w.deps.store.read(lambda tx: tx.deliveries.listening([account]))
        assert [s.id for s in heard] == [EMAIL_ID]
        assert w.deps.store.verify() == []


def test_a_key_that_is_gone_is_an_answer_not_an_end(w: World) -> None:
    made = post(w, "/webhooks", {"name": "x", "url": URL, "events": ["*"]})
    post(w, f"/webhooks/{made['id']}/test")
    w.deps.store.write(
        lambda tx: tx.jobs._link.run("UPDATE subscriptions SET sealed = ?", (b"damaged",))  # type: ignore[attr-defined]
    )
    (one,) = deliveries.claim(w.deps, Traffic())
    sent = asyncio.run(deliveries.send(w.deps, one))
    assert not sent.ok
    w.deps.store.write(deliveries.settling(w.deps, one, sent, 0.0))
    found = w.deps.store.read(lambda tx: tx.deliveries.get_delivery(one.delivery.id, made["id"]))
    assert found.tries == 1
    assert found.detail


def test_a_channel_that_breaks_is_tried_again_and_tells_no_secret(
    w: World, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        name, at_once, pace = "webhook", 1, None

        async def send(self, config: Any, message: Any) -> Any:
            raise ValueError(f"cannot use {config['url']}")

    made = post(w, "/webhooks", {"name": "x", "url": URL, "events": ["*"]})
    told = post(w, f"/webhooks/{made['id']}/test")
    w.deps.channels["webhook"] = Broken()  # type: ignore[index]

    async def main() -> None:
        courier = Courier(w.deps, lambda fn, *args: asyncio.to_thread(fn, *args))
        await courier.send()
        await courier.stop()

    asyncio.run(main())
    shown = get(w, f"/webhooks/{made['id']}/deliveries/{told['id']}")
    assert (shown["state"], shown["tries"]) == ("pending", 1)
    assert shown["detail"]
    out = capfd.readouterr()
    assert "a channel failed" in out.out + out.err
    assert "canary" not in out.out + out.err + shown["detail"]
