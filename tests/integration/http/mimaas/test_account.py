"""Accounts, plans and boards of the MIMaaS door over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.support.deps import World
from tests.support.mimaas import (
    Client,
    StandInBoards,
    job_of,
    mimaas_world,
    person_of,
    placed,
    runs,
    with_policy,
)

from trainshed.dialects.mimaas import errors, translate
from trainshed.domain.people import Right
from trainshed.domain.states import JobState
from trainshed.http.errors import TABLE
from trainshed.usecases import grants


def test_accounts(w: World, client: Client) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", client.token)
    me = client("GET", "/me")
    number = me.pop("id")
    assert type(number) is int
    assert me == {
        "username": "johndoe", "email": "johndoe@example.com", "first_name": "John",
        "surname": "Doe", "available_runs": 3, "plan": "free",
    }  # fmt: skip
    body = {"username": "johndoe", "password": "secure_password"}
    second = client("POST", "/login", auth=False, json=body)["api_token"]
    assert second != client.token
    for token in (second, client.token, f"Bearer {second}"):
        assert Client(w, token, client.root)("GET", "/me")["id"] == number
    wrong = client("POST", "/login", 401, auth=False, json={**body, "password": "no"})
    assert wrong["message"]
    assert client.register(status=400)["message"] == "That name is taken."
    assert "There is no plan 'gold'" in client.register("jane", 400, plan="gold")["message"]
    assert "operator" in client.register("jane", 400, plan="pro")["message"]
    assert client.register("jane", plan="club", operator=True, role="viewer", balance=99)
    assert runs(client) == 5
    person = person_of(w, client)
    assert (person.principal.operator, person.principal.right) == (False, Right.ADMIN)
    assert client("GET", "/me")["id"] != number
    assert client.register("jim", 400, password="short")["message"]
    assert "email" in client.register("jim", 400, email="a\nb")["message"]


def test_tokens_end(w: World, john: Client) -> None:
    body = {"username": "johndoe", "password": "secure_password"}
    for bad in ("0" * 64, "nonsense", "Basic abc"):
        assert Client(w, bad)("GET", "/me", 401)["message"]
    assert john.raw("GET", "/me", auth=False).status_code == 401
    person = person_of(w, john)
    stored = w.deps.store.read(lambda tx: tx.people.keys(person.principal.account_id))
    assert john.token not in repr(stored)
    first = john.token
    keep = [john("POST", "/login", auth=False, json=body)["api_token"] for _ in range(20)]
    for token in (keep[0], keep[-1]):
        assert Client(w, token)("GET", "/me")
    w.clock.advance(1)
    assert Client(w, first)("GET", "/me", 401)
    change = {"old_password": "secure_password", "new_password": "another passphrase"}
    token = {"Authorization": f"Bearer {keep[-1]}"}
    assert w.client.post("/v1/me/password", json=change, headers=token).status_code < 300
    w.clock.advance(1)
    assert Client(w, keep[-1])("GET", "/me", 401)


def test_closed_sign_up(tmp_path: Path) -> None:
    with mimaas_world(tmp_path, with_policy(sign_up_open=False)) as w:
        assert "closed" in Client(w).register(status=403)["message"]


def test_boards(w: World, client: Client) -> None:
    found = client("GET", "/api/boards", auth=False)["boards"]
    by_name = {b["name"]: b for b in found}
    assert len(by_name) == len(found) >= 12
    one = client("GET", "/api/boards/nrf5340dk", auth=False)
    assert one == by_name["nrf5340dk"]
    assert {"name", "variant", "board_type", "specifications"} <= set(one)
    assert one["specifications"]["flash_size"] == 1024
    assert one["specifications"]["ram_size"] == 512
    assert one["specifications"]["voltage"] >= 1700
    assert one["provenance"]["source"] == "emulated"
    assert client("GET", "/api/boards/none", 404, auth=False)["message"]
    assert client("GET", "/api/boards/none/status", 404, auth=False)["message"]
    plans = client("GET", "/api/plans", auth=False)["plans"]
    shown = [[p[k] for k in ("id", "name", "available_runs", "price", "currency")] for p in plans]
    assert shown == [
        [1, "free", 3, 0.0, "USD"], [2, "pro", 200, 29.0, "USD"], [3, "club", 5, 0.0, "EUR"],
    ]  # fmt: skip


def test_a_board_is_as_busy_as_its_jobs(w: World, client: Client) -> None:
    def status(board: str = "nrf5340dk") -> tuple[Any, ...]:
        found = client("GET", f"/api/boards/{board}/status", auth=False)
        assert found["board"] == board
        return found["status"], found["available_count"], found["queue_length"]

    assert status() == ("available", 2, 0)
    first, second, third = (client.send()["id"] for _ in range(3))
    assert status() == ("available", 2, 3)
    person = person_of(w, client)
    for number in (first, second):
        placed(w, person, job_of(w, client, number))
    assert status() == ("busy", 0, 1)
    assert status("rpi_pico") == ("busy", 0, 0)  # the machine's two CPUs are taken
    client("DELETE", f"/api/requests/{third}", 204)
    assert status() == ("busy", 0, 0)


def test_offline_boards_say_what_to_install(tmp_path: Path) -> None:
    absent = StandInBoards()
    absent.absent = "Install what is missing: apt-get install qemu-system-arm."
    with mimaas_world(tmp_path, boards=absent) as w:
        client = Client(w)
        client.register()
        found = client("GET", "/api/boards/rpi_pico/status", auth=False)
        assert (found["status"], found["available_count"]) == ("offline", 0)
        assert "qemu-system-arm" in found["message"]
        assert "qemu-system-arm" in client.send(status=503)["message"]
        assert runs(client) == 3
        assert client.send("/api/validate", 200)["valid"]


def test_the_quota(w: World, john: Client) -> None:
    for _ in range(3):
        john.send()
    check = w.deps.model_check
    asked = check.asked  # type: ignore[union-attr]
    refused = john.send(status=403)
    assert "no available runs" in refused["message"].lower()
    assert check.asked == asked  # type: ignore[union-attr]
    account = person_of(w, john).principal.account_id
    give = {"amount_ucredits": 1_000_000, "unit": "board_run"}
    path = f"/v1/accounts/{account}/grants"
    assert w.client.post(path, json=give, headers=w.admin.headers).status_code == 201
    assert john.send()
    assert runs(john) == 0


def test_a_plan_gives_what_is_lacking_once_a_period(w: World, john: Client) -> None:
    def granted() -> list[int]:
        query = "/v1/credits/entries?limit=200"
        bearer = {"Authorization": f"Bearer {john.token}"}
        found = w.client.get(query, headers=bearer).json()["items"]
        return [e["amount_ucredits"] for e in found if e["kind"] == "grant"]

    assert granted() == [3_000_000]
    john.send()
    assert grants.renew(w.deps) == 0
    w.clock.advance(31 * 86_400)
    token = {"username": "johndoe", "password": "secure_password"}
    john.token = john("POST", "/login", auth=False, json=token)["api_token"]
    assert grants.renew(w.deps) >= 1
    assert runs(john) == 3
    assert granted() == [1_000_000, 3_000_000]
    assert grants.renew(w.deps) == 0
    w.clock.advance(400 * 86_400)
    assert grants.renew(w.deps) >= 1
    assert grants.renew(w.deps) == 0, "periods that were slept through are not made up for"
    assert granted() == [1_000_000, 3_000_000], "nothing was lacking"


def test_the_operator_gives_a_plan(w: World, john: Client) -> None:
    account = person_of(w, john).principal.account_id
    path, boss = f"/v1/accounts/{account}", w.admin.headers
    assert w.client.patch(path, json={"plan": "gold"}, headers=boss).status_code == 400
    changed = w.client.patch(path, json={"plan": "pro"}, headers=boss)
    assert changed.json()["plan"] == "pro"
    me = john("GET", "/me")
    assert (me["plan"], me["available_runs"]) == ("pro", 200)
    mine = {"Authorization": f"Bearer {john.token}"}
    assert w.client.patch(path, json={"plan": "pro"}, headers=mine).status_code == 403


def test_pages_may_be_where_programs_post(w: World) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml"}
    for path in ("/login", "/register", "/me"):
        page = w.client.get(path, headers=browser)
        assert page.status_code == 404
        assert page.headers["content-type"] == "application/problem+json"
    assert w.client.get("/me", headers={"Accept": "*/*"}).status_code == 401
    assert w.client.get("/login", headers={"Accept": "*/*"}).status_code == 400


def test_the_table_of_errors_is_complete() -> None:
    assert set(errors.STATUS) == set(TABLE)
    assert set(errors.STATUS.values()) <= {400, 401, 403, 404, 429, 500, 503}
    assert set(translate.STATUS) == set(JobState)


def test_its_document(w: World) -> None:
    found = w.client.get("/mimaas/openapi.json").json()
    assert "/api/requests/" in found["paths"]
    form = found["paths"]["/api/requests/"]["post"]["requestBody"]["content"]
    assert "multipart/form-data" in form
