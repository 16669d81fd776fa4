"""Logins, passwords, people, keys (SECURITY 8, 11–14, 41)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import PASSWORD, Person, World, world

from trainshed.bootstrap.secrets import FileSecrets
from trainshed.ports.deps import Policy
from trainshed.usecases import accounts

WRONG = "not the right passphrase"


def log_in(w: World, username: str = "admin", password: str = PASSWORD) -> Any:
    return w.client.post("/v1/login", json={"username": username, "password": password})


def test_login_me_logout(w: World) -> None:
    made = log_in(w).json()
    assert re.fullmatch(r"ses_[0-9a-f]{32}_[\w-]{43}", made["token"])
    assert made["user"]["username"] == "admin"
    headers = {"Authorization": f"Bearer {made['token']}"}
    me = w.client.get("/v1/me", headers=headers).json()
    assert (me["right"], me["operator"], me["key_id"]) == ("admin", True, None)
    assert w.client.post("/v1/logout", headers=headers).status_code == 204
    w.clock.advance(1)
    assert w.client.get("/v1/me", headers=headers).status_code == 401


def test_a_session_ends_by_itself(w: World) -> None:
    headers = {"Authorization": f"Bearer {log_in(w).json()['token']}"}
    w.clock.advance(w.deps.policy.session_ttl_s - 10)
    assert w.client.get("/v1/me", headers=headers).status_code == 200
    w.clock.advance(11)
    assert w.client.get("/v1/me", headers=headers).status_code == 401


def test_an_unknown_name_costs_and_says_the_same_as_a_wrong_password(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    check = FileSecrets.check_password

    def spy(self: FileSecrets, password: str, hashed: str | None) -> bool:
        seen.append(hashed)
        return check(self, password, hashed)

    monkeypatch.setattr(FileSecrets, "check_password", spy)
    known, unknown = log_in(w, "admin", WRONG), log_in(w, "nobody", WRONG)
    assert known.status_code == unknown.status_code == 401
    drop = {"request_id"}
    assert {k: v for k, v in known.json().items() if k not in drop} == {
        k: v for k, v in unknown.json().items() if k not in drop
    }
    assert seen[0] is not None
    assert seen[1:] == [None]
    disabled = w.person("gone").principal
    accounts.update_user(w.deps, w.admin.principal, disabled.user_id or "", disabled=True)
    assert log_in(w, "gone").json()["detail"] == unknown.json()["detail"]


def test_guessing_is_slowed_down_but_nobody_is_locked_out(w: World) -> None:
    waits = []
    for _ in range(8):
        answer = log_in(w, "admin", WRONG)
        while answer.status_code == 429:
            wait = int(answer.headers["retry-after"])
            waits.append(wait)
            w.clock.advance(wait)
            answer = log_in(w, "admin", WRONG)
        assert answer.status_code == 401
    assert waits == sorted(waits)
    assert waits[-1] >= 8
    w.clock.advance(60)
    assert log_in(w).status_code == 200
    assert log_in(w).status_code == 200


def test_case_and_unicode_forms_of_a_name_and_password_are_one(w: World) -> None:
    accounts.create_user(w.deps, w.admin.principal, "Eve", "pässword länger", "member")
    assert log_in(w, "eve", "pässword länger").status_code == 200
    other = w.client.post(
        "/v1/users", headers=w.admin.headers,
        json={"username": "EVE", "password": PASSWORD, "role": "member"},
    )  # fmt: skip
    assert other.status_code == 409


@pytest.mark.parametrize(
    "password", ["short", "x" * 12, "passwordpassword", "Password1234", "y" * 257, "abababababab"]
)
def test_bad_passwords_are_refused(w: World, password: str) -> None:
    body = {"username": "new", "password": password, "role": "member"}
    answer = w.client.post("/v1/users", json=body, headers=w.admin.headers)
    assert answer.status_code == 400
    assert answer.json()["field"] == "password"
    assert password not in answer.text.replace("password", "")


def test_a_password_change_ends_every_session(w: World) -> None:
    first, second = (log_in(w).json()["token"] for _ in range(2))
    headers = {"Authorization": f"Bearer {first}"}
    body = {"old_password": WRONG, "new_password": PASSWORD + " two"}
    assert w.client.post("/v1/me/password", json=body, headers=headers).status_code == 403
    body["old_password"] = PASSWORD
    assert w.client.post("/v1/me/password", json=body, headers=headers).status_code == 204
    w.clock.advance(1)
    for token in (first, second):
        answer = w.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert log_in(w).status_code == 401
    assert log_in(w, password=PASSWORD + " two").status_code == 200


def test_register_makes_a_poor_tenant_of_its_own(w: World) -> None:
    body = {"username": "newcomer", "password": PASSWORD}
    made = w.client.post("/v1/register", json=body)
    assert made.status_code == 201
    assert made.json()["user"]["operator"] is False
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    credits = w.client.get("/v1/credits", headers=headers).json()["balances"]
    assert {b["unit"]: b["balance_ucredits"] for b in credits} == {
        "credit": 0, "board_run": 10_000_000
    }  # fmt: skip
    answer = w.client.post("/v1/jobs", json={"command": ["true"]}, headers=headers)
    assert answer.status_code == 402
    assert w.client.post("/v1/register", json=body).status_code == 409
    for name in ("local", "Admin", "../x", "a b", "é"):
        again = w.client.post("/v1/register", json={**body, "username": name})
        assert again.status_code in (400, 409, 429)


def test_register_is_closed_unless_the_policy_opens_it(tmp_path: Path) -> None:
    with world(tmp_path, Policy(min_free_bytes=0)) as w:
        body = {"username": "newcomer", "password": PASSWORD}
        assert w.client.post("/v1/register", json=body).status_code == 403


def test_the_last_operator_stays(w: World) -> None:
    path = f"/v1/users/{w.admin.principal.user_id}"
    for body in ({"operator": False}, {"disabled": True}, {"role": "viewer"}):
        assert w.client.patch(path, json=body, headers=w.admin.headers).status_code == 409


def test_a_disabled_account_is_out_within_a_second(w: World) -> None:
    one = w.person("one")
    assert w.client.get("/v1/me", headers=one.headers).status_code == 200
    path = f"/v1/accounts/{one.principal.account_id}"
    body = {"disabled": True}
    assert w.client.patch(path, json=body, headers=w.admin.headers).status_code == 200
    w.clock.advance(1)
    assert w.client.get("/v1/me", headers=one.headers).status_code == 401
    assert log_in(w, "one").status_code == 401
    own = w.client.patch(
        f"/v1/accounts/{w.admin.principal.account_id}", json=body, headers=w.admin.headers
    )
    assert own.status_code == 409


def make_key(w: World, person: Person, **body: Any) -> dict[str, Any]:
    answer = w.client.post("/v1/keys", json={"name": "k", **body}, headers=person.headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        ("ts_", r"ts_[0-9a-f]{8}_[\w-]{43}"),
        ("mdlm_", r"mdlm_[0-9a-f]{8}_[\w-]{43}"),
        ("", r"[0-9a-f]{64}"),
    ],
)
def test_key_forms_and_headers(w: World, prefix: str, form: str) -> None:
    key = make_key(w, w.admin, prefix=prefix)
    assert re.fullmatch(form, key["secret"])
    for headers in (
        {"Authorization": f"Bearer {key['secret']}"}, {"X-API-Key": key["secret"]},
        {"authorization": f"bearer {key['secret']}"},
    ):  # fmt: skip
        assert w.client.get("/v1/me", headers=headers).json()["key_id"] == key["id"]
    both = {"Authorization": f"Bearer {key['secret']}", "X-API-Key": w.admin.key}
    assert w.client.get("/v1/me", headers=both).status_code == 401
    listed = w.client.get("/v1/keys", headers=w.admin.headers)
    assert key["secret"] not in listed.text
    assert "secret" not in listed.json()["items"][0]


def test_only_a_digest_is_stored(w: World) -> None:
    secret = make_key(w, w.admin)["secret"]
    token = log_in(w).json()["token"]
    w.deps.store.close()
    folder = w.deps.blobs._root.parent  # type: ignore[attr-defined]
    found = b"".join(p.read_bytes() for p in folder.glob("trainshed.db*"))
    assert len(found) > 10_000
    for word in (secret, secret[-43:], token, PASSWORD):
        assert word.encode() not in found


def test_a_revoked_key_is_out_within_a_second(w: World) -> None:
    key = make_key(w, w.admin)
    headers = {"X-API-Key": key["secret"]}
    assert w.client.get("/v1/me", headers=headers).status_code == 200
    gone = w.client.delete(f"/v1/keys/{key['id']}", headers=w.admin.headers)
    assert gone.status_code == 204
    w.clock.advance(1)
    assert w.client.get("/v1/me", headers=headers).status_code == 401
    again = w.client.delete(f"/v1/keys/{key['id']}", headers=w.admin.headers)
    assert again.status_code == 204


def test_rotation_kills_the_old_secret(w: World) -> None:
    key = make_key(w, w.admin)
    new = w.client.post(f"/v1/keys/{key['id']}/rotate", headers=w.admin.headers).json()
    assert new["id"] == key["id"]
    assert new["secret"] != key["secret"]
    w.clock.advance(1)
    assert w.client.get("/v1/me", headers={"X-API-Key": key["secret"]}).status_code == 401
    assert w.client.get("/v1/me", headers={"X-API-Key": new["secret"]}).status_code == 200


def test_a_key_expires(w: World) -> None:
    key = make_key(w, w.admin, expires_in_days=1)
    headers = {"X-API-Key": key["secret"]}
    assert w.client.get("/v1/me", headers=headers).status_code == 200
    w.clock.advance(86_400)
    assert w.client.get("/v1/me", headers=headers).status_code == 401


def test_a_spending_limit_holds(w: World) -> None:
    key = make_key(w, w.admin, spend_limit_ucredits=1_000_000)
    headers = {"X-API-Key": key["secret"]}
    job = {"command": ["true"], "max_runtime_s": 3600}
    assert w.client.post("/v1/jobs", json=job, headers=headers).status_code == 201
    answer = w.client.post("/v1/jobs", json=job, headers=headers)
    assert answer.status_code == 402
    assert answer.json()["code"] == "payment_required"


def test_no_key_can_make_a_stronger_one(w: World) -> None:
    admin_key = make_key(w, w.admin, scopes=["admin"])
    weak = {"X-API-Key": make_key(w, w.admin, scopes=["read", "write"])["secret"]}
    limited = {"X-API-Key": make_key(w, w.admin, spend_limit_ucredits=5)["secret"]}
    short = {"X-API-Key": make_key(w, w.admin, expires_in_days=1)["secret"]}
    post = w.client.post
    strong = {"name": "x", "scopes": ["admin"]}
    assert post("/v1/keys", json=strong, headers=weak).status_code == 403
    assert post(f"/v1/keys/{admin_key['id']}/rotate", headers=weak).status_code == 403
    for headers in (limited, short):
        assert post("/v1/keys", json={"name": "x"}, headers=headers).status_code == 403
        assert post(f"/v1/keys/{admin_key['id']}/rotate", headers=headers).status_code == 403
    body = {"name": "x", "expires_in_days": 1}
    assert post("/v1/keys", json=body, headers=short).status_code == 403  # a moment longer
    w.clock.advance(-5)
    assert post("/v1/keys", json=body, headers=short).status_code == 201


def test_only_the_owner_may_rotate_a_key(w: World) -> None:
    home = w.admin.principal.account_id
    member = w.person("member", "member", home)
    key = make_key(w, member)
    rotate = f"/v1/keys/{key['id']}/rotate"
    assert w.client.post(rotate, headers=w.admin.headers).status_code == 403
    other = w.person("member2", "member", home)
    assert w.client.post(rotate, headers=other.headers).status_code == 404
    assert w.client.delete(f"/v1/keys/{key['id']}", headers=other.headers).status_code == 404
    assert w.client.delete(f"/v1/keys/{key['id']}", headers=w.admin.headers).status_code == 204


def test_an_operator_is_told_that_the_key_is_too_weak(w: World) -> None:
    weak = {"X-API-Key": make_key(w, w.admin, scopes=["read", "write"])["secret"]}
    told = w.client.get("/v1/accounts", headers=weak)
    assert (told.status_code, told.json()["detail"]) == (
        403,
        "This needs admin rights in the account.",
    )
    other = w.client.get("/v1/accounts", headers=w.person("one").headers)
    assert "needs the operator" in other.json()["detail"]


def test_grants_are_visible_and_bounded(w: World) -> None:
    one = w.person("one")
    path = f"/v1/accounts/{one.principal.account_id}/grants"
    body = {"amount_ucredits": 7, "memo": "welcome"}
    made = w.client.post(path, json=body, headers=w.admin.headers)
    assert made.status_code == 201
    assert made.json()["balance_ucredits"] == 7
    entry, plan = w.client.get("/v1/credits/entries", headers=one.headers).json()["items"]
    assert (plan["unit"], plan["memo"], plan["kind"]) == ("board_run", "Plan free", "grant")
    assert (entry["kind"], entry["memo"], entry["balance_after_ucredits"]) == (
        "grant",
        "welcome",
        7,
    )
    huge = {"amount_ucredits": 2**63 - 1}
    assert w.client.post(path, json=huge, headers=w.admin.headers).status_code == 400
    for amount in (0, -1, 2**63, 1.5, "1"):
        answer = w.client.post(path, json={"amount_ucredits": amount}, headers=w.admin.headers)
        assert answer.status_code == 400


def test_every_such_act_is_in_the_audit_log(w: World) -> None:
    key = make_key(w, w.admin)
    w.client.post(f"/v1/keys/{key['id']}/rotate", headers=w.admin.headers)
    w.client.delete(f"/v1/keys/{key['id']}", headers=w.admin.headers)
    log_in(w)
    log_in(w, password=WRONG)
    w.person("someone", "viewer", w.admin.principal.account_id)
    job = w.submit(w.admin)
    w.client.post(f"/v1/jobs/{job}/cancel", headers=w.admin.headers)
    lines: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = w.client.get(f"/v1/audit?limit=3{cursor}", headers=w.admin.headers).json()
        lines += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    actions = {line["action"] for line in lines}
    assert {
        "user.create", "credits.grant", "key.create", "key.rotate", "key.revoke", "session.begin",
        "login.failed", "job.cancel",
    } <= actions  # fmt: skip
    assert len({line["chain"] for line in lines}) == len(lines)
    assert [line["seq"] for line in lines] == sorted((x["seq"] for x in lines), reverse=True)


def test_bootstrap_twice_changes_nothing(w: World) -> None:
    again = accounts.bootstrap_admin(w.deps, "another passphrase here")
    assert not again.made
    assert again.user.id == w.admin.principal.user_id
    assert log_in(w).status_code == 200
    names = {a.account.name for a in accounts.list_accounts(w.deps, w.admin.principal)}
    assert names == {"admin", "local"}
    assert w.deps.store.verify() == []
