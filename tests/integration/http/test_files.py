"""Uploads, downloads and their signed URLs (SECURITY 19, 22, 24, 29, 42)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.support.deps import World, serving, world

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.ports.deps import Policy

HOSTILE = [
    "../x", "a/../b", "..", ".", "a//b", "a/./b", "a\\b", "..\\x", "C:/x", "C:\\x", "file:///etc/passwd",
    "http://h/x", "a\nb", "a\x7fb", "%2e%2e/x", "%252e%252e%252fx", "%25252e%25252e%25252fx",
    "..%2fx", "..%5cx", "a%00b", "x" * 256, "/".join(["a" * 100] * 11), "", "/", "a/",
]  # fmt: skip


def announce(w: World, path: str, size: int, **extra: Any) -> Any:
    body = {"path": path, "size_bytes": size, **extra}
    return w.client.post("/v1/uploads", json=body, headers=w.admin.headers)


def test_upload_once_and_find_it(w: World) -> None:
    data = b"some bytes"
    made = announce(w, "/data/train.csv", len(data)).json()
    assert made["path"] == "data/train.csv"
    assert made["method"] == "PUT"
    before = w.client.get(f"/v1/uploads/{made['id']}", headers=w.admin.headers).json()
    assert before["completed_at"] is None
    put = w.client.put(made["url"], content=data)
    assert put.status_code == 201
    assert put.json() == {
        "id": made["id"], "path": "data/train.csv", "size_bytes": len(data),
        "md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    again = w.client.put(made["url"], content=data)
    assert again.status_code == 409
    (listed,) = w.client.get("/v1/uploads", headers=w.admin.headers).json()["items"]
    assert listed["completed_at"] is not None
    gone = w.client.delete(f"/v1/uploads/{made['id']}", headers=w.admin.headers)
    assert gone.status_code == 204
    assert w.client.put(made["url"], content=data).status_code == 404


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused(w: World, path: str) -> None:
    answer = announce(w, path, 1)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_input"


def test_nul_in_a_path_is_refused(w: World) -> None:
    assert announce(w, "a\0b", 1).status_code == 400


def test_size_and_digest_must_be_as_announced(w: World) -> None:
    url = announce(w, "a", 5).json()["url"]
    assert w.client.put(url, content=b"1234").status_code == 400
    assert w.client.put(url, content=b"123456").status_code == 413

    def chunks(n: int) -> Iterator[bytes]:
        yield from (b"x" for _ in range(n))

    assert w.client.put(url, content=chunks(6)).status_code == 413
    assert w.client.put(url, content=chunks(4)).status_code == 400
    encoded = w.client.put(url, content=b"12345", headers={"Content-Encoding": "gzip"})
    assert encoded.status_code == 415
    assert w.client.put(url, content=chunks(5)).status_code == 201
    wrong = announce(w, "b", 5, md5="0" * 32).json()["url"]
    assert w.client.put(wrong, content=b"12345").status_code == 409
    sha = hashlib.sha256(b"12345").hexdigest()
    right = announce(w, "b", 5, sha256=sha).json()["url"]
    assert w.client.put(right, content=b"12345").status_code == 201
    assert announce(w, "c", 1, md5="XYZ").status_code == 400
    assert announce(w, "c", -1).status_code == 400
    assert announce(w, "c", 2**63).status_code == 400
    assert announce(w, "c", 21 * 1024**3).status_code == 413


def test_an_empty_file_is_a_file(w: World) -> None:
    url = announce(w, "empty", 0).json()["url"]
    assert w.client.put(url, content=b"").status_code == 201


def test_any_change_of_a_signed_url_is_403(w: World) -> None:
    url = announce(w, "a", 1).json()["url"]
    token = url.rsplit("/", 1)[1]
    text, signature = token.split(".")
    for changed in (
        text, f"{text}.", f".{signature}", f"{text}.{signature[:-2]}AA", f"A{token}",
        f"{text}A.{signature}", "x", "%2e%2e", "a" * 10_000, f"{text}.{signature}.x", "é.é",
    ):  # fmt: skip
        answer = w.client.put(f"/v1/signed/{changed}", content=b"1")
        assert answer.status_code == 403, changed
    other = announce(w, "b", 1).json()["url"].rsplit("/", 1)[1].split(".")
    assert w.client.put(f"/v1/signed/{other[0]}.{signature}", content=b"1").status_code == 403
    assert w.client.get(url).status_code == 403
    w.clock.advance(899)
    assert w.client.put(url, content=b"1").status_code == 201


def test_a_signed_url_expires_and_dies_with_its_account(w: World) -> None:
    url = announce(w, "a", 1).json()["url"]
    w.clock.advance(900)
    assert w.client.put(url, content=b"1").status_code == 403
    one = w.person("one")
    body = {"path": "x", "size_bytes": 1}
    url = w.client.post("/v1/uploads", json=body, headers=one.headers).json()["url"]
    path = f"/v1/accounts/{one.principal.account_id}"
    w.client.patch(path, json={"disabled": True}, headers=w.admin.headers)
    assert w.client.put(url, content=b"1").status_code == 403


def test_quota_and_full_disk_say_what_to_do(tmp_path: Path) -> None:
    policy = Policy(min_free_bytes=0, default_quota_bytes=10)
    with world(tmp_path / "quota", policy) as w:
        assert announce(w, "a", 11).status_code == 507
        first, second = (announce(w, n, 8).json()["url"] for n in "ab")
        assert w.client.put(first, content=b"12345678").status_code == 201
        answer = w.client.put(second, content=b"abcdefgh")
        assert answer.status_code == 507
        assert answer.json()["code"] == "quota_exceeded"
        assert "DELETE /v1/uploads" in answer.json()["detail"]
    with world(tmp_path / "full", Policy(min_free_bytes=2**60)) as w:
        answer = announce(w, "a", 1)
        assert answer.status_code == 507
        assert answer.json()["code"] == "storage_full"


@pytest.fixture
def done(w: World) -> tuple[World, str]:
    job_id = w.submit(w.admin)
    attempt = w.lease(w.admin, job_id)
    files = {"model/weights.bin": bytes(range(256)), "model/a.txt": b"A", "page.html": b"<b>"}
    w.artifact(w.admin, job_id, attempt.id, files)
    return w, job_id


def fetch(w: World, job_id: str, path: str | None, **headers: str) -> Any:
    body = {"job_id": job_id} if path is None else {"job_id": job_id, "path": path}
    made = w.client.post("/v1/downloads", json=body, headers=w.admin.headers)
    if made.status_code != 201:
        return made
    return w.client.get(made.json()["url"], headers=headers)


def test_one_file_is_never_shown_as_a_page(done: tuple[World, str]) -> None:
    w, job_id = done
    for path in ("page.html", "outputs/page.html", "/page.html", "./page.html"):
        answer = fetch(w, job_id, path)
        assert answer.content == b"<b>"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["content-type"] == "application/octet-stream"


def test_ranges(done: tuple[World, str]) -> None:
    w, job_id = done
    data = bytes(range(256))
    for asked, status, want in (
        ("bytes=0-9", 206, data[:10]), ("bytes=250-", 206, data[250:]),
        ("bytes=-6", 206, data[-6:]), ("bytes=255-999", 206, data[255:]),
        ("bytes=9-3", 200, data), ("bytes=0-1,5-6", 200, data), ("items=0-1", 200, data),
        ("bytes=256-", 416, None), ("bytes=-0", 416, None),
    ):  # fmt: skip
        answer = fetch(w, job_id, "model/weights.bin", Range=asked)
        assert answer.status_code == status, asked
        if want is not None:
            assert answer.content == want
            assert answer.headers["content-length"] == str(len(want))
    etag = fetch(w, job_id, "model/weights.bin").headers["etag"]
    part = fetch(w, job_id, "model/weights.bin", Range="bytes=0-0", **{"If-Range": etag})
    assert part.status_code == 206
    other = fetch(w, job_id, "model/weights.bin", Range="bytes=0-0", **{"If-Range": '"x"'})
    assert other.status_code == 200


def test_a_folder_or_nothing_is_a_zip(done: tuple[World, str]) -> None:
    w, job_id = done
    for path, names in (
        (None, {"model/weights.bin", "model/a.txt", "page.html"}),
        ("", {"model/weights.bin", "model/a.txt", "page.html"}),
        ("outputs", {"model/weights.bin", "model/a.txt", "page.html"}),
        ("model", {"model/weights.bin", "model/a.txt"}),
        ("outputs/model/", {"model/weights.bin", "model/a.txt"}),
    ):
        answer = fetch(w, job_id, path)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
            assert found.testzip() is None
            assert set(found.namelist()) == names
        assert answer.headers["content-type"] == "application/zip"


def test_a_miss_lists_what_there_is(done: tuple[World, str]) -> None:
    w, job_id = done
    answer = fetch(w, job_id, "nope.bin")
    assert answer.status_code == 404
    assert answer.json()["available"] == ["model/a.txt", "model/weights.bin", "page.html"]
    empty = w.submit(w.admin)
    assert fetch(w, empty, None).status_code == 404


@pytest.mark.parametrize("path", [p for p in HOSTILE if p not in ("", "/", "a/")])
def test_hostile_download_paths_are_refused(done: tuple[World, str], path: str) -> None:
    w, job_id = done
    assert fetch(w, job_id, path).status_code in (400, 404)
    for text in (path, quote(path, safe=""), quote(quote(path, safe=""), safe="")):
        answer = w.client.get(f"/v1/signed/{quote(text, safe='')}")
        assert answer.status_code in (403, 404)


def test_a_hostile_path_in_the_database_is_not_served(w: World) -> None:
    job_id = w.submit(w.admin)
    attempt = w.lease(w.admin, job_id)
    blob = w.blob(w.admin, b"x")
    bad = BlobRef("../../../../etc/passwd", "0" * 64, 10)
    refs = (
        FileRef("../../etc/cron.d/x", blob), FileRef("/abs", blob), FileRef("ok.txt", blob),
        FileRef("bad.txt", bad),
    )  # fmt: skip
    one = Artifact(
        w.deps.ids.new("artifact"), w.admin.principal.account_id, job_id, attempt.id,
        ArtifactKind.ARTIFACT, "0" * 32 + ".dir", refs, w.clock.utc_now(),
    )  # fmt: skip
    w.deps.store.write(lambda tx: tx.files.insert_artifact(one))
    assert fetch(w, job_id, "../../etc/cron.d/x").status_code == 400
    assert fetch(w, job_id, "abs").status_code == 404
    body = {"job_id": job_id, "path": "ok.txt"}
    made = w.client.post("/v1/downloads", json=body, headers=w.admin.headers).json()
    assert w.client.get(made["url"]).content == b"x"
    assert fetch(w, job_id, "bad.txt").status_code == 404


def test_a_download_dies_with_its_job_file(done: tuple[World, str]) -> None:
    w, job_id = done
    body = {"job_id": job_id, "path": "page.html"}
    url = w.client.post("/v1/downloads", json=body, headers=w.admin.headers).json()["url"]
    found = w.deps.store.read(lambda tx: tx.files.artifacts(job_id))
    w.deps.store.write(lambda tx: tx.files.delete_artifact(found[0].id))
    assert w.client.get(url).status_code == 404
    assert w.client.put(url, content=b"x").status_code == 403


def test_names_are_resolved_by_key_then_base_name(w: World) -> None:
    from trainshed.domain.errors import InvalidInput, NotFound
    from trainshed.usecases import uploads

    who = w.admin.principal
    first = w.upload(w.admin, "a/train.py", b"1")
    assert uploads.resolve(w.deps, who, "/a/train.py").id == first
    assert uploads.resolve(w.deps, who, "/elsewhere/train.py").id == first
    newer = w.upload(w.admin, "a/train.py", b"2")
    assert uploads.resolve(w.deps, who, "train.py").id == newer
    w.upload(w.admin, "b/train.py", b"3")
    with pytest.raises(InvalidInput, match=r"a/train\.py, b/train\.py"):
        uploads.resolve(w.deps, who, "train.py")
    with pytest.raises(NotFound, match="trainshed upload"):
        uploads.resolve(w.deps, who, "nope.py")
    with pytest.raises(InvalidInput):
        uploads.resolve(w.deps, who, "../../etc/passwd")


def test_of_many_puts_at_once_one_wins(w: World) -> None:
    data = b"x" * 100_000
    url = announce(w, "raced", len(data)).json()["url"]
    with serving(w.app) as base, ThreadPoolExecutor(8) as pool:
        target = base + url.removeprefix("http://127.0.0.1:8000")
        statuses = list(pool.map(lambda _: httpx2.put(target, content=data).status_code, range(8)))
    assert sorted(statuses) == [201, *[409] * 7]
