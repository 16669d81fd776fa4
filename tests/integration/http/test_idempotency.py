"""Idempotency-Key: the same POST made twice makes one thing."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from tests.support.deps import World, serving

from trainshed.http.idempotency import Idempotency
from trainshed.ports.records import Remembered
from trainshed.usecases import housekeeping
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases
from trainshed.usecases.submit import ONCE

JOB = {"command": ["true"], "max_runtime_s": 60}


def post(w: World, key: str, body: Any = JOB, path: str = "/v1/jobs", who: str = "") -> Any:
    headers = {"Authorization": f"Bearer {who or w.admin.key}", "Idempotency-Key": key}
    return w.client.post(path, json=body, headers=headers)


def n_jobs(w: World) -> int:
    return len(w.client.get("/v1/jobs?limit=200", headers=w.admin.headers).json()["items"])


def test_the_first_answer_is_given_again(w: World) -> None:
    first, second = post(w, "a"), post(w, "a")
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert post(w, "b").json()["id"] != first.json()["id"]
    assert n_jobs(w) == 2


def test_another_body_or_route_is_422(w: World) -> None:
    post(w, "a")
    for answer in (
        post(w, "a", {**JOB, "priority": 1}),
        post(w, "a", {"path": "x", "size_bytes": 1}, "/v1/uploads"),
    ):
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency_conflict"


def test_an_error_is_not_kept(w: World) -> None:
    poor = w.person("poor")
    assert post(w, "a", who=poor.key).status_code == 402
    w.credits(poor)
    assert post(w, "a", who=poor.key).status_code == 201
    assert post(w, "c", {"command": []}).status_code == 400
    assert post(w, "c").status_code == 201


def test_one_callers_keys_never_meet_anothers(w: World) -> None:
    body = {"name": "k"}
    member = w.person("member", "member", w.admin.principal.account_id)
    first, again = post(w, "a", body, "/v1/keys"), post(w, "a", body, "/v1/keys")
    assert first.json()["secret"] == again.json()["secret"]
    other = post(w, "a", body, "/v1/keys", member.key)
    assert other.json()["secret"] != first.json()["secret"]


def test_a_kept_secret_is_sealed(w: World) -> None:
    secret = post(w, "a", {"name": "k"}, "/v1/keys").json()["secret"]
    folder = w.deps.blobs._root.parent  # type: ignore[attr-defined]
    w.deps.store.close()
    found = b"".join(p.read_bytes() for p in folder.glob("trainshed.db*"))
    assert secret.encode() not in found


def test_fifty_copies_at_once_make_one_job(w: World) -> None:
    headers = {**w.admin.headers, "Idempotency-Key": "parallel"}
    with serving(w.app) as url, httpx2.Client(base_url=url, headers=headers, timeout=30) as client:

        def send(_: int) -> tuple[int, str]:
            for _ in range(200):
                answer = client.post("/v1/jobs", json=JOB)
                if answer.status_code == 409:
                    assert answer.json()["code"] == "idempotency_conflict"
                    continue
                return answer.status_code, answer.json()["id"]
            raise AssertionError("never answered")

        with ThreadPoolExecutor(16) as pool:
            answers = set(pool.map(send, range(50)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 201
    assert n_jobs(w) == 1


def test_what_a_dead_server_left_in_flight_is_taken_over(w: World) -> None:
    held: list[Remembered] = []
    first = post(w, "a")
    assert first.status_code == 201

    def rewind(tx: Any) -> None:
        probe = Remembered(w.admin.principal.account_id, key, "", 0, b"", w.clock.utc_now())
        known = tx.records.remember(probe)
        assert known is not None
        held.append(known)
        tx.records.forget(known.account_id, known.key)
        tx.records.remember(dataclasses.replace(known, status=0, body=b""))

    import hashlib

    key_id = w.client.get("/v1/me", headers=w.admin.headers).json()["key_id"]
    key = hashlib.sha256(f"{key_id}:a".encode()).hexdigest()
    w.deps.store.write(rewind)
    assert post(w, "a").status_code == 409
    w.clock.advance(61)
    assert post(w, "a").json()["id"] == first.json()["id"]
    assert n_jobs(w) == 1


def test_keys_are_forgotten_after_their_time(w: World) -> None:
    first = post(w, "a").json()["id"]
    w.clock.advance(w.deps.policy.idempotency_ttl_s + 1)
    assert post(w, "a", {**JOB, "priority": 3}).json()["id"] != first


def test_jobs_forget_the_keys_they_were_made_with(w: World) -> None:
    def names(job_id: str) -> str | None:
        return w.deps.store.read(lambda tx: tx.records.public_id(ONCE, "job", job_id))

    engine = Engine(w.deps, Leases(w.deps.policy.lease))
    old = post(w, "a").json()["id"]
    w.clock.advance(w.deps.policy.idempotency_ttl_s + 1)
    young = post(w, "b").json()["id"]
    housekeeping.tidy(engine)
    assert names(old) is None
    assert names(young) is not None
    again = post(w, "a").json()["id"]
    assert again != old
    assert names(again) is not None


def test_odd_keys_are_400(w: World) -> None:
    for key in ("", "x" * 256, "a\tb"):
        assert post(w, key).status_code == 400


def test_a_job_whose_answer_was_lost_is_not_made_twice(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies between the job's commit and the remembered answer (G2)."""
    headers = {**w.admin.headers, "Idempotency-Key": "lost-answer"}
    done = Idempotency._done

    async def dies(*_: Any) -> None:
        raise SystemError("killed here")

    monkeypatch.setattr(Idempotency, "_done", dies)
    assert w.client.post("/v1/jobs", json=JOB, headers=headers).status_code == 500
    monkeypatch.setattr(Idempotency, "_done", done)
    again = w.client.post("/v1/jobs", json=JOB, headers=headers)
    assert again.status_code == 201
    listed = w.client.get("/v1/jobs", headers=w.admin.headers).json()["items"]
    assert [job["id"] for job in listed] == [again.json()["id"]]


def test_a_lost_answer_is_never_given_to_another_request(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {**w.admin.headers, "Idempotency-Key": "lost-answer"}

    async def dies(*_: Any) -> None:
        raise SystemError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Idempotency, "_done", dies)
        assert w.client.post("/v1/jobs", json=JOB, headers=headers).status_code == 500
    other = w.client.post("/v1/jobs", json={**JOB, "name": "other"}, headers=headers)
    assert other.status_code == 201
    assert other.json()["name"] == "other"


def test_a_forgotten_key_of_a_deleted_job_makes_a_new_one(w: World) -> None:
    first = post(w, "a").json()["id"]
    w.client.post(f"/v1/jobs/{first}/cancel", headers=w.admin.headers)
    assert w.client.delete(f"/v1/jobs/{first}", headers=w.admin.headers).status_code == 204
    w.clock.advance(w.deps.policy.idempotency_ttl_s + 1)
    again = post(w, "a")
    assert again.status_code == 201
    assert again.json()["id"] != first
