"""Webhooks at the Middleman door: its own words, its own ids, its own jobs; no runner."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import World
from tests.support.middleman import Api, middleman_world

from trainshed.dialects.middleman import events, routes_hooks
from trainshed.domain.delivery import Delivery, DeliveryState
from trainshed.domain.events import KINDS, Event
from trainshed.usecases import deliveries

URL = "http://127.0.0.1:9/in"
#: The names that the public SDK documents.
DOCUMENTED = {
    "job.queued", "job.started", "job.running", "job.paused", "job.resumed", "job.checkpointing",
    "job.evicted", "job.completed", "job.failed", "job.cancelled", "credits.low",
    "credits.depleted",
}  # fmt: skip


@pytest.fixture
def w(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(routes_hooks, "TEST_S", 0.0)  # nobody carries anything out here
    with middleman_world(tmp_path) as one:
        yield one


@pytest.fixture
def api(w: World) -> Api:
    return Api(w, w.admin)


def hook(api: Api, *names: str, **more: Any) -> Any:
    body = {"name": "mine", "url": URL, "events": list(names) or ["*"], **more}
    return api("POST", "/webhooks", 201, json=body)


def told(w: World, api: Api, hook_id: str) -> list[dict[str, Any]]:
    """What the log has for a webhook, oldest first."""
    deliveries.fan_out(w.deps, deliveries.cursor(w.deps))
    found = api("GET", f"/webhooks/{hook_id}/deliveries", params={"limit": 100})["data"]
    return sorted((d["payload"] for d in found), key=lambda p: p["data"].get("seq", 0))


def log(w: World, kind: str, job_id: str | None, **data: Any) -> None:
    now, account = w.clock.utc_now(), w.admin.principal.account_id
    w.deps.store.write(lambda tx: tx.events.append(Event(kind, account, now, job_id, None, data)))


def test_the_words_are_the_documents(api: Api) -> None:
    assert {e["name"] for e in api("GET", "/webhooks/events")["events"]} == DOCUMENTED
    assert set(events.NAMES) <= set(KINDS)
    assert set(events.NAMES.values()) | {"job.started", "job.resumed"} == DOCUMENTED
    assert set(events.STATUS) == {n for n in DOCUMENTED if n.startswith("job.")}


def test_made_shown_changed_and_removed(w: World, api: Api) -> None:
    made = hook(api, "job.completed", "credits.low")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    one = f"/webhooks/{made['id']}"
    assert api("GET", "/webhooks") == [made] == [api("GET", one)]
    assert api("GET", f"/webhooks/{made['id'][:8]}") == made
    changed = api("PATCH", one, json={"is_active": False, "events": ["*"], "name": "other"})
    assert changed == {
        **made, "is_active": False, "events": ["*"], "name": "other", "health": "inactive"
    }  # fmt: skip
    assert api.refused(api("POST", f"{one}/test", 409)) == "conflict"
    fresh = api("POST", f"{one}/regenerate-secret")
    assert set(fresh) == {"secret"}
    assert fresh["secret"] not in (secret, "")
    for bad in ({"events": ["job.succeeded"]}, {"events": []}, {"url": "ftp://x"}, {"name": ""}):
        body = {"name": "mine", "url": URL, "events": ["*"], **bad}
        api.refused(api("POST", "/webhooks", 400, json=body))
        api.refused(api("PATCH", one, 400, json=bad))
    gone = w.client.delete(api.root + one, headers=api.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    assert api("GET", "/webhooks") == []
    assert api.refused(api("GET", one, 404)) == "not_found"


def test_its_events_are_those_of_its_jobs(w: World, api: Api) -> None:
    made = hook(api)
    w.submit(w.admin)  # another door's
    public = api.job(name="digits")["id"]
    job_id = "job_" + public.replace("-", "")
    for kind, data in (
        ("job.starting", {"attempt": 1}), ("job.resuming", {"attempt": 1}), ("job.running", {}),
        ("attempt.checkpointing", {}), ("attempt.checkpoint", {}), ("job.pausing", {}),
        ("job.paused", {}), ("job.resumed", {}), ("job.starting", {"attempt": 2}),
        ("job.running", {}), ("job.evicting", {}), ("job.evicted", {}),
        ("job.starting", {"attempt": 3}), ("job.requeued", {}), ("job.succeeded", {}),
        ("job.failed", {"message": "exit code 3"}), ("job.cancelled", {}), ("job.deleted", {}),
        ("credits.granted", {}),
        ("credits.low", {"available_ucredits": 99_900_000, "threshold_ucredits": 100_000_000}),
    ):  # fmt: skip
        log(w, kind, job_id, **data)
    found = told(w, api, made["id"])
    assert [one["type"] for one in found] == [
        "job.queued", "job.started", "job.running", "job.checkpointing", "job.paused",
        "job.resumed", "job.running", "job.evicted", "job.resumed", "job.evicted",
        "job.completed", "job.failed", "job.cancelled", "credits.low",
    ]  # fmt: skip
    assert {one["data"]["job"]["id"] for one in found[:-1]} == {public}
    assert found[11]["data"]["message"] == "exit code 3"
    assert found[0]["data"]["job"] == {
        "id": public, "name": "digits", "status": "queued", "gpu_type": "a100", "gpu_count": 1,
        "retry_count": 0,
    }  # fmt: skip
    assert (found[-1]["data"]["available"], found[-1]["data"]["threshold"]) == (99, 100)
    assert job_id not in json.dumps(found)


def test_only_what_was_asked_for(w: World, api: Api) -> None:
    some, family = hook(api, "job.completed")["id"], hook(api, "credits.*")["id"]
    job_id = "job_" + api.job()["id"].replace("-", "")
    log(w, "job.succeeded", job_id)
    log(w, "credits.depleted", job_id, available_ucredits=-1)
    assert [p["type"] for p in told(w, api, some)] == ["job.completed"]
    (credits,) = told(w, api, family)
    assert credits["data"]["available"] == -1


def test_deliveries_are_pages_and_are_sent_again(w: World, api: Api) -> None:
    made = hook(api)
    one = f"/webhooks/{made['id']}"
    for _ in range(3):
        shown = api("POST", f"{one}/test")
        assert (shown["event"], shown["status"], shown["attempts"]) == ("test", "pending", 0)
        w.clock.advance(1)
    every = api("GET", f"{one}/deliveries")
    assert (every["total"], len(every["data"])) == (3, 3)
    page = api("GET", f"{one}/deliveries", params={"limit": 1, "offset": 1})
    assert page == {"data": every["data"][1:2], "total": 3}
    again = f"{one}/deliveries/{shown['id']}/replay"
    assert api.refused(api("POST", again, 409)) == "conflict"
    assert api("POST", f"{one}/replay") == {"replayed": 0}

    def die(tx: Any) -> None:
        (found,) = tx.deliveries.claim(hook_id, w.clock.utc_now(), w.clock.utc_now(), 1)
        ended = dataclasses.replace(
            found, state=DeliveryState.DEAD, done_at=w.clock.utc_now(), status=500, detail="no"
        )
        tx.deliveries.settle(ended)
        dead.append(ended)

    dead: list[Delivery] = []
    hook_id = "whk_" + made["id"].replace("-", "")
    w.deps.store.write(die)
    listed = api("GET", f"{one}/deliveries")["data"]
    (failed,) = [d for d in listed if d["id"] == dead[0].id]
    assert (failed["status"], failed["response_status"]) == ("failed", 500)
    assert (failed["error"], failed["next_attempt_at"]) == ("no", None)
    assert api("POST", f"{one}/replay") == {"replayed": 1}
    assert api.refused(api("POST", f"{one}/deliveries/dlv_x/replay", 404)) == "not_found"


def test_each_door_keeps_its_own_words(w: World, api: Api) -> None:
    """The native list has all of the account's; this door shows its own only."""
    made = hook(api)
    native_id, _ = w.webhook(w.admin)
    assert [h["id"] for h in api("GET", "/webhooks")] == [made["id"]]
    api.refused(api("GET", f"/webhooks/{native_id}", 404))
    headers = w.admin.headers
    listed = w.client.get("/v1/webhooks", headers=headers).json()["items"]
    assert {h["dialect"] for h in listed} == {"native", "middleman"}
    core = f"/v1/webhooks/whk_{made['id'].replace('-', '')}"
    for names, status in ((["job.completed"], 200), (["job.succeeded"], 400)):
        answer = w.client.patch(core, json={"events": names}, headers=headers)
        assert answer.status_code == status, answer.text


def test_other_accounts_have_none(w: World, api: Api) -> None:
    made = hook(api)
    stranger = Api(w, w.person("stranger"))
    assert stranger("GET", "/webhooks") == []
    stranger.refused(stranger("GET", f"/webhooks/{made['id']}", 404))
