"""Files up and down: streamed, without the key, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.middleman.conftest import AT, Stub, refusal

from middleman import MiddlemanClient
from middleman.errors import (
    ApiError,
    MiddlemanError,
    NotFoundError,
    TransferError,
    UnreachableError,
)

BODY = b"weights" * 1000
UP = {"upload_url": "http://files.test/up", "blob_path": "uploads/x", "expires_at": AT}


def down(**more: Any) -> dict[str, Any]:
    return {"download_url": "http://files.test/down", "expires_at": AT, **more}


def test_a_file_goes_to_the_signed_address(
    client: MiddlemanClient, stub: Stub, tmp_path: Path
) -> None:
    source = tmp_path / "data.csv"
    source.write_bytes(b"a,b\n" * 200_000)
    stub.on("POST /data/upload-url", UP).on("PUT /up", httpx2.Response(201))
    told: list[tuple[int, int | None]] = []
    path = client.upload_file(source, "job-1", on_progress=lambda *s: told.append(s))
    assert path == "uploads/x"
    assert stub.bodies("POST /data/upload-url") == [
        {"filename": "data.csv", "content_type": "text/csv", "size_bytes": 800_000}
    ]
    assert stub.requests[0].url.params["job_id"] == "job-1"
    put = stub.requests[1]
    assert put.content == source.read_bytes()
    assert put.headers["content-length"] == "800000"
    assert put.headers["content-type"] == "text/csv"
    assert "transfer-encoding" not in put.headers
    assert not {"x-api-key", "authorization"} & set(put.headers)
    assert len(told) > 1
    assert told[-1] == (800_000, 800_000)


def test_an_empty_file(client: MiddlemanClient, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    stub.on("POST /data/upload-url", UP).on("PUT /up", httpx2.Response(200))
    client.upload_file(str(tmp_path / "empty.bin"))
    assert stub.requests[1].headers["content-length"] == "0"


def test_a_missing_file(client: MiddlemanClient, stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_file(tmp_path / "nothing")
    assert stub.requests == []


def test_a_folder_goes_as_a_zip(client: MiddlemanClient, stub: Stub, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")
    (folder / "secret.env").write_text("no")
    (folder / ".trainshedignore").write_text("*.env\n")
    (folder / "link").symlink_to("/etc/hostname")
    stub.on("POST /data/upload-url", UP).on("PUT /up", httpx2.Response(200))
    client.upload_file(folder)
    (body,) = stub.bodies("POST /data/upload-url")
    assert (body["filename"], body["content_type"]) == ("data.zip", "application/zip")
    content = stub.requests[1].content
    assert len(content) == body["size_bytes"]
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert sorted(packed.namelist()) == ["b.txt", "deep/a.txt"]


def test_an_empty_folder(client: MiddlemanClient, stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(MiddlemanError, match="nothing to upload"):
        client.upload_file(tmp_path / "home")
    assert stub.requests == []


@pytest.mark.parametrize("answer", [refusal(403, "expired", "Too late."), httpx2.ReadError("x")])
def test_a_put_is_never_sent_twice(
    client: MiddlemanClient, stub: Stub, tmp_path: Path, answer: Any
) -> None:
    (tmp_path / "a").write_text("a")
    stub.on("POST /data/upload-url", UP).on("PUT /up", answer)
    with pytest.raises((ApiError, UnreachableError)):
        client.upload_file(tmp_path / "a")
    assert len(stub.requests) == 2


def test_a_download_is_saved_byte_for_byte(
    client: MiddlemanClient, stub: Stub, tmp_path: Path
) -> None:
    headers = {"etag": f'"{hashlib.sha256(BODY).hexdigest()}"'}
    stub.on("POST /data/download-url", down(size_bytes=len(BODY)))
    stub.on("GET /down", httpx2.Response(200, content=BODY, headers=headers))
    place = client.download("j", "outputs/model.pt", tmp_path)
    assert place == tmp_path / "model.pt"
    assert place.read_bytes() == BODY
    assert stub.bodies("POST /data/download-url") == [{"job_id": "j", "path": "outputs/model.pt"}]
    assert "x-api-key" not in stub.requests[1].headers
    assert client.download("j", "outputs/model.pt", tmp_path / "mine").read_bytes() == BODY


@pytest.mark.parametrize(
    ("link", "headers", "error"),
    [
        (down(size_bytes=5), {}, TransferError),
        (down(sha256="0" * 64), {}, TransferError),
        (down(), {"etag": f'"{"0" * 64}"'}, TransferError),
    ],
)
def test_what_is_wrong_is_not_kept(
    client: MiddlemanClient,
    stub: Stub,
    tmp_path: Path,
    link: dict[str, Any],
    headers: dict[str, str],
    error: type[MiddlemanError],
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    stub.on("POST /data/download-url", link)
    stub.on("GET /down", httpx2.Response(200, content=BODY, headers=headers))
    with pytest.raises(error):
        client.download("j", "model.pt", to)
    assert [*to.iterdir()] == []


def test_a_broken_download_is_tried_again(
    client: MiddlemanClient, stub: Stub, tmp_path: Path
) -> None:
    stub.on("POST /data/download-url", down())
    stub.on("GET /down", httpx2.ReadError("x"), httpx2.Response(200, content=BODY))
    assert client.download("j", "a/model.pt", tmp_path) == tmp_path / "model.pt"


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        (None, "application/zip", "outputs.zip"),
        ("outputs/plots", "application/zip", "plots.zip"),
        ("outputs/all.zip", "application/zip", "all.zip"),
        ("outputs/m.pt", "application/octet-stream", "m.pt"),
    ],
)
def test_every_download_has_a_name(
    client: MiddlemanClient, stub: Stub, tmp_path: Path, path: str | None, kind: str, name: str
) -> None:
    answer = httpx2.Response(200, content=b"z", headers={"content-type": kind})
    stub.on("POST /data/download-url", down()).on("GET /down", answer)
    assert client.download("j", path, tmp_path) == tmp_path / name
    assert stub.bodies("POST /data/download-url") == [{"job_id": "j", "path": path}]


def test_a_file_that_is_not_there(client: MiddlemanClient, stub: Stub, tmp_path: Path) -> None:
    stub.on("POST /data/download-url", refusal(404, "not_found", "There are: a, b."))
    with pytest.raises(NotFoundError, match="a, b"):
        client.download("j", "c", tmp_path)
