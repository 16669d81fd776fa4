"""The Orchestrator's door: open mode as D15 has it, bad input, other accounts, error shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.support.deps import BASE, NO_LIMITS, World, world

from trainshed.dialects.native import door as native_door
from trainshed.dialects.orchestrator import translate
from trainshed.dialects.orchestrator.routes import door as orchestrator_door
from trainshed.domain.errors import Unavailable
from trainshed.domain.states import AttemptState, Reason
from trainshed.http.guards import Kind
from trainshed.http.hall import ADDRESS, STANDARD, HttpSettings
from trainshed.ports.deps import Environments, Policy
from trainshed.ports.schedules import ScheduleFilter
from trainshed.usecases import accounts, local

DOORS = [native_door(), orchestrator_door(60.0)]
OPEN = HttpSettings(rate_limits=NO_LIMITS, open_local=True, local_key="shared-secret-key")
CLOSED = dataclasses.replace(OPEN, open_local=False)
JOB = {
    "name": "resnet", "image": "python:3.12", "command": ["python", "t.py"],
    "schedule": "0 2 * * *",
}  # fmt: skip


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, settings=OPEN, doors=DOORS) as one:
        local.first_grant(one.deps)
        yield one
        assert one.deps.store.verify() == []


@pytest.fixture
def http(w: World) -> TestClient:
    return here(w)


def here(w: World, address: str = "127.0.0.1", base: str = BASE) -> TestClient:
    """A client on the machine itself."""
    return TestClient(w.app, base, client=(address, 50000), raise_server_exceptions=False)


def make(http: TestClient, **more: Any) -> str:
    made = http.post("/jobs", json={**JOB, **more})
    assert made.status_code == 201, made.text
    return str(made.json()["job_id"])


def check_error(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    found: dict[str, str] = answer.json()
    assert set(found) == {"detail", "error_type"}
    assert isinstance(found["detail"], str)
    assert found["detail"]
    return found


def test_open_mode_is_the_account_local_and_never_an_admin(w: World, http: TestClient) -> None:
    job = make(http)
    seen = w.deps.store.read(lambda tx: tx.people.find_account(accounts.LOCAL))
    found = w.deps.store.read(lambda tx: tx.schedules.page(filter_of(seen.id), None, 0, 10))
    assert len(found) == 1
    assert found[0].user_id is None
    assert http.get(f"/jobs/{job}").status_code == 200
    for path in ("/v1/jobs", "/v1/me", "/v1/users", "/v1/accounts", "/v1/schedules"):
        assert http.get(path).status_code == 401
    balance = w.deps.store.read(lambda tx: tx.ledger.balance(seen.id, accounts.Unit.CREDIT))
    assert balance.balance == w.deps.policy.local_grant_ucredits
    assert not local.first_grant(w.deps)


def filter_of(account_id: str) -> Any:
    return ScheduleFilter(account_id)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 401),
        ({"Forwarded": "for=203.0.113.9"}, 401),
        ({"Host": "evil.example"}, 400),
    ],
)
def test_open_mode_refuses_other_sites_proxies_and_names(
    http: TestClient, method: str, headers: dict[str, str], status: int
) -> None:
    check_error(http.request(method, "/jobs", json=JOB, headers=headers), status)
    assert http.get("/jobs").json()["total"] == 0


def test_open_mode_takes_writes_as_json_only(http: TestClient) -> None:
    job = make(http)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        body = {"content": b'{"name": "x"}', "headers": {"Content-Type": kind}}
        check_error(http.post("/jobs", **body), 415)
        check_error(http.post(f"/jobs/{job}/run-now", **body), 415)
    same = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert http.post(f"/jobs/{job}/run-now", headers=same).status_code == 200


def test_open_mode_is_for_this_machine(w: World) -> None:
    check_error(here(w, "192.0.2.7").get("/jobs"), 401)
    assert here(w, "::1", "http://[::1]:8000").get("/jobs").status_code == 200


def test_closed_by_setting_needs_a_key(tmp_path: Path) -> None:
    with world(tmp_path, settings=CLOSED, doors=DOORS) as w:
        http = here(w)
        for door in DOORS[1:]:
            for route in door.routes:
                if route.guard is None or route.guard.kind is Kind.PUBLIC:
                    continue
                url = door.prefix + route.path.replace("{job_id}", "train-00000000")
                check_error(http.request(route.method, url), 401)
        check_error(http.get("/jobs"), 401)
        shared = {"X-API-Key": "shared-secret-key"}
        assert http.get("/jobs", headers=shared).status_code == 200
        assert http.get("/v1/jobs", headers=shared).status_code == 401
        check_error(http.get("/jobs", headers={"X-API-Key": "shared-secret-kex"}), 401)
        check_error(http.get("/jobs", headers={**shared, "Authorization": "Bearer other"}), 401)
        assert http.get("/jobs", headers=w.admin.headers).status_code == 200


def test_a_wrong_key_is_refused_even_in_open_mode(http: TestClient) -> None:
    check_error(http.get("/jobs", headers={"X-API-Key": "nonsense"}), 401)


def test_open_mode_ends_while_a_second_person_shares_the_network(w: World) -> None:
    http = here(w)
    w.credits(w.admin)
    job = w.submit(w.admin)
    attempt = w.lease(w.admin, job)
    w.clock.advance(2)
    assert http.get("/jobs").status_code == 200
    w.person("second")
    w.clock.advance(2)
    assert "several people" in check_error(http.get("/jobs"), 401)["detail"]
    ended = dataclasses.replace(
        attempt, message="", state=AttemptState.LOST, reason=Reason.LOST,
        ended_at=w.clock.utc_now(),
    )  # fmt: skip
    w.deps.store.write(lambda tx: tx.attempts.save_if_held(ended))
    w.clock.advance(2)
    assert http.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    "more", [{"require_isolation": False}, {"environments": Environments(sdists=True)}]
)
def test_open_mode_stays_off_with_two_people_who_may_use_the_machines_network(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    policy = Policy(min_free_bytes=0, **more)
    with world(tmp_path, policy, OPEN, doors=DOORS) as w:
        assert here(w).get("/jobs").status_code == 200
        w.person("second")
        w.clock.advance(2)
        check_error(here(w).get("/jobs"), 401)


def test_other_accounts_are_not_found(w: World, http: TestClient) -> None:
    job = make(http)
    other = w.person("other")
    for route in orchestrator_door(1).routes:
        if "{job_id}" in route.path:
            url = route.path.replace("{job_id}", job)
            answer = http.request(route.method, url, json={}, headers=other.headers)
            assert check_error(answer, 404)["detail"] == f"Job {job} not found"
    assert http.get("/jobs", headers=other.headers).json()["jobs"] == []
    assert http.get("/stats", headers=other.headers).json()["total_jobs"] == 0
    assert http.post("/jobs", json=JOB, headers=other.headers).status_code == 201
    assert http.get(f"/jobs/{job}").status_code == 200


def test_a_native_schedule_is_not_shown_here_and_a_job_is_shown_there(
    w: World, http: TestClient
) -> None:
    body = {"name": "native", "cron": "0 2 * * *", "job": {"command": ["true"]}}
    assert w.client.post("/v1/schedules", json=body, headers=w.admin.headers).status_code == 201
    assert http.get("/jobs", headers=w.admin.headers).json()["total"] == 0
    made = http.post("/jobs", json=JOB, headers=w.admin.headers).json()
    found = w.client.get("/v1/schedules", headers=w.admin.headers).json()["items"]
    assert {s["dialect"] for s in found} == {"native", "orchestrator"}
    mine = next(s for s in found if s["dialect"] == "orchestrator")
    assert mine["job"]["env"] == {"JOB_ID": "***"}
    assert http.get(f"/jobs/{mine['id']}", headers=w.admin.headers).status_code == 404
    assert made["job_id"].startswith("train-")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "   "}, {"name": "x" * 101}, {"name": None}, {"name": 5},
        {"name": "a\nb"}, {"name": "\x00"}, {"image": ""}, {"image": "-v/:/host"},
        {"image": "a b"}, {"image": "$(reboot)"}, {"image": None}, {"image": "x" * 600},
        {"command": []}, {"command": "python train.py"}, {"command": [""]}, {"command": [1]},
        {"command": ["a\x00b"]}, {"command": None}, {"schedule": "soon"}, {"schedule": ""},
        {"schedule": "61 * * * *"}, {"schedule": "* * * * * *"}, {"schedule": "0 0 30 2 *"},
        {"schedule": "; rm -rf / ; * *"}, {"max_retries": -1}, {"max_retries": 11},
        {"max_retries": "many"}, {"max_retries": None}, {"checkpoint_path": "../../etc"},
        {"checkpoint_path": "/a/../../etc"}, {"checkpoint_path": "a\nb"}, {"checkpoint_path": 7},
        {"checkpoint_path": "/"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_input_is_400_with_words_and_makes_nothing(
    http: TestClient, change: dict[str, Any]
) -> None:
    found = check_error(http.post("/jobs", json={**JOB, **change}), 400)
    assert found["error_type"] == "ValidationError"
    assert http.get("/stats").json()["total_jobs"] == 0
    job = make(http)
    before = http.get(f"/jobs/{job}").json()
    if change != {"checkpoint_path": None}:
        check_error(http.put(f"/jobs/{job}", json=change), 400)
    assert http.get(f"/jobs/{job}").json() == before


def test_every_kind_of_failure_has_this_shape(http: TestClient) -> None:
    check_error(http.get("/orchestrator/nowhere"), 404)
    check_error(http.get("/jobs/train-00000000"), 404)
    check_error(http.get("/jobs/a/b/c/d"), 404)
    check_error(http.get("/stats/x"), 404)
    assert check_error(http.patch("/jobs"), 405)["error_type"] == "MethodNotAllowedError"
    check_error(http.post("/health"), 405)
    check_error(http.post("/jobs", content=b"{", headers=_JSON), 400)
    check_error(http.post("/jobs", content=b"[]", headers=_JSON), 400)
    check_error(http.post("/jobs", content=b'{"a":' * 99 + b"1" + b"}" * 99, headers=_JSON), 400)
    check_error(http.post("/jobs", content=b"x" * 300_000, headers=_JSON), 413)
    check_error(http.get("/jobs?page=0"), 400)
    check_error(http.get("/jobs?page_size=101"), 400)
    check_error(http.get("/jobs?status_filter=sleeping"), 400)
    check_error(http.get("/orchestrator/static/../routes.py"), 404)
    check_error(http.get("/orchestrator/static/passwd"), 404)
    assert http.get("/nowhere").json()["code"] == "not_found"


_JSON = {"Content-Type": "application/json"}


def test_a_rate_limit_is_off_unless_set_and_has_this_shape_too(tmp_path: Path) -> None:
    limited = dataclasses.replace(OPEN, rate_limits={**NO_LIMITS, "open": 3})
    with world(tmp_path, settings=limited, doors=DOORS) as w:
        http = here(w)
        answers = [http.get("/stats") for _ in range(5)]
        assert [a.status_code for a in answers[:3]] == [200] * 3
        assert check_error(answers[-1], 429)["error_type"] == "RateLimitError"
        assert answers[-1].headers["retry-after"]


def test_names_exports_and_unknown_keys(http: TestClient) -> None:
    job = make(http)
    found = check_error(http.post("/jobs", json=JOB), 409)
    assert found["detail"] == "Job with name 'resnet' already exists"
    exported = http.get(f"/jobs/{job}").json()
    again = http.post("/jobs?nonsense=1", json={**exported, "name": " copy "})
    assert again.status_code == 201
    assert again.json()["name"] == "copy"
    assert again.json()["job_id"] != job
    other = again.json()["job_id"]
    check_error(http.put(f"/jobs/{other}", json={"name": "resnet"}), 409)
    assert http.put(f"/jobs/{other}", json={}).json()["name"] == "copy"
    cleared = http.put(f"/jobs/{other}", json={"checkpoint_path": None, "max_retries": 0})
    assert cleared.json()["max_retries"] == 0
    assert http.delete(f"/jobs/{job}").content == b""
    check_error(http.delete(f"/jobs/{job}"), 404)
    assert make(http) != job


def test_pages_are_newest_first_and_totals_follow_the_filter(w: World, http: TestClient) -> None:
    ids = []
    for n in range(5):
        ids.append(make(http, name=f"job {n}"))
        w.clock.advance(1)
    first = http.get("/jobs?page=1&page_size=2").json()
    second = http.get("/jobs?page=2&page_size=2").json()
    third = http.get("/jobs?page=3&page_size=2").json()
    got = [j["job_id"] for part in (first, second, third) for j in part["jobs"]]
    assert got == ids[::-1]
    assert {first["total"], second["total"], third["total"]} == {5}
    assert http.get("/jobs?status_filter=pending").json()["total"] == 5
    assert http.get("/jobs?status=failed").json()["total"] == 0
    assert http.get("/jobs?status_filter=pending&status=failed").json()["total"] == 5


def test_running_jobs_can_be_neither_changed_nor_deleted(w: World, http: TestClient) -> None:
    job = make(http)
    assert http.post(f"/jobs/{job}/run-now").json()["status"] == "pending"
    check_error(http.post(f"/jobs/{job}/run-now"), 409)
    check_error(http.post(f"/jobs/{job}/retry"), 409)
    seen = w.deps.store.read(lambda tx: tx.people.find_account(accounts.LOCAL))
    run = w.deps.store.read(lambda tx: tx.schedules.page(filter_of(seen.id), None, 0, 1))[0]
    owner = dataclasses.replace(
        w.admin, principal=dataclasses.replace(w.admin.principal, account_id=seen.id)
    )
    attempt = w.lease(owner, run.last_job_id or "")
    check_error(http.put(f"/jobs/{job}", json={"max_retries": 1}), 409)
    check_error(http.delete(f"/jobs/{job}"), 409)
    gone = dataclasses.replace(
        attempt, message="", state=AttemptState.LOST, reason=Reason.LOST,
        ended_at=w.clock.utc_now() + timedelta(seconds=1),
    )  # fmt: skip
    w.deps.store.write(lambda tx: tx.attempts.save_if_held(gone))
    assert http.delete(f"/jobs/{job}").status_code == 204


def test_what_stands_beside_the_document(http: TestClient) -> None:
    job = make(http, schedule="*/5 * * * *")
    runs = http.get(f"/jobs/{job}/next-runs").json()
    assert len(runs["next_runs"]) == 10
    assert runs["next_runs"][0] == http.get(f"/jobs/{job}").json()["next_run_at"]
    assert http.get(f"/jobs/{job}/attempts").json()["attempts"] == []
    check_error(http.get(f"/jobs/{job}/logs"), 404)
    assert http.get(f"/jobs/{job}/events").json()["events"] == []
    http.post(f"/jobs/{job}/run-now")
    kinds = [e["event"] for e in http.get(f"/jobs/{job}/events").json()["events"]]
    assert {"job.queued", "schedule.fired"} <= set(kinds)
    check_error(http.get(f"/jobs/{job}/logs", params={"run_id": "job_" + "0" * 32}), 404)


def test_both_addresses_are_the_same_door(http: TestClient) -> None:
    job = make(http)
    for path in ("/jobs", f"/jobs/{job}", "/stats"):
        assert http.get(path).json() == http.get("/orchestrator" + path).json()
    for path in ("/health", "/orchestrator/health", "/orchestrator", "/orchestrator/"):
        assert http.get(path).json()["service"] == translate.SERVICE
    document = http.get("/orchestrator/openapi.json").json()
    assert "/jobs/{job_id}/retry" in document["paths"]
    responses = document["paths"]["/jobs"]["post"]["responses"]
    assert set(responses) == {"201", "default"}
    assert "application/json" in responses["default"]["content"]


def test_health_asks_the_database_once_a_second_however_many_ask(
    w: World, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing limits or counts who asks: it may cost next to nothing."""
    read, reads = w.deps.store.read, []
    w.clock.advance(5)

    def counted(fn: Any) -> Any:
        reads.append(fn)
        return read(fn)

    monkeypatch.setattr(w.deps.store, "read", counted)
    answers = [http.get("/health").json() for _ in range(20)]
    assert {a["status"] for a in answers} == {"healthy"}
    assert len(reads) == 1

    def fails(fn: Any) -> Any:
        raise Unavailable("gone")

    monkeypatch.setattr(w.deps.store, "read", fails)
    w.clock.advance(2)
    assert http.get("/health").json()["status"] == "degraded"


def test_a_person_has_their_own_limit_here_too(tmp_path: Path) -> None:
    settings = dataclasses.replace(OPEN, rate_limits={STANDARD: 2, ADDRESS: 100})
    with world(tmp_path, settings=settings, doors=DOORS) as w:
        http = here(w)
        found = [http.get("/jobs", headers=w.admin.headers).status_code for _ in range(4)]
        assert found == [200, 200, 429, 429]
        assert [http.get("/jobs").status_code for _ in range(4)] == [200] * 4


def test_pages_hold_no_script_and_name_no_other_host(http: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        page = http.get(path)
        assert page.status_code == 200
        assert "script-src 'self';" in page.headers["content-security-policy"]
        assert "://" not in page.text
        assert "<script>" not in page.text
        for name in page.text.split('src="')[1:]:
            asset = http.get(name.split('"')[0])
            assert asset.status_code == 200
            assert asset.headers["content-type"].startswith("text/javascript")
