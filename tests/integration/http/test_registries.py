"""Logins to container registries over HTTP."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.support.deps import world

from trainshed.ports.deps import Policy

URL = "/v1/registries"
LOGIN = {"registry": "GHCR.io", "username": "ann", "password": "canary-4712"}


def test_a_login_is_stored_shown_without_its_password_and_forgotten(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        owner, other = w.person("owner"), w.person("other")
        made = w.client.put(URL, json=LOGIN, headers=owner.headers)
        assert made.status_code == 200, made.text
        shown = w.client.get(URL, headers=owner.headers).json()["items"]
        assert [(one["registry"], one["username"]) for one in shown] == [("ghcr.io", "ann")]
        assert w.client.get(URL, headers=other.headers).json()["items"] == []
        lines = w.client.get("/v1/audit", headers=owner.headers)
        assert "registry.put" in lines.text
        for text in (made.text, lines.text):
            assert "canary" not in text
        w.deps.store.backup(str(tmp_path / "copy.db"))
        assert b"canary-4712" not in (tmp_path / "copy.db").read_bytes()
        gone = w.client.delete(f"{URL}/ghcr.io", headers=other.headers)
        assert gone.status_code == 404
        assert w.client.delete(f"{URL}/ghcr.io", headers=owner.headers).status_code == 204
        assert w.client.get(URL, headers=owner.headers).json()["items"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"registry": "-x"}, {"registry": "a/b"}, {"registry": "http://a"}, {"username": "a:b"},
        {"username": "a\nb"}, {"password": "a\nb"}, {"password": ""}, {"more": 1},
    ],
)  # fmt: skip
def test_bad_logins(change: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as w:
        answer = w.client.put(URL, json=LOGIN | change, headers=w.admin.headers)
        assert answer.status_code == 400, answer.text
        assert "canary" not in answer.text


def test_only_allowed_registries(tmp_path: Path) -> None:
    policy = Policy(min_free_bytes=0, sign_up_open=True, image_registries=("ghcr.io",))
    with world(tmp_path, policy) as w:
        owner = w.person("owner")
        w.credits(owner)
        for name, status in (("ghcr.io/a/b", 201), ("localhost/x", 201), ("python", 400)):
            body = {"command": ["true"], "environment": {"kind": "image", "value": name}}
            answer = w.client.post("/v1/jobs", json=body, headers=owner.headers)
            assert answer.status_code == status, answer.text
