"""Blobs: whole or absent, one content for each address, and what DVC itself would write."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainshed.blobs.local import LocalBlobs
from trainshed.domain.errors import DigestConflict, NotFound, StorageFull
from trainshed.ports import crash

ACC = "acc_" + "1" * 32

# Two messages with one md5 (Wang and others, 2004).
_A = (
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
TWIN_A = bytes.fromhex(_A)
_flip = bytearray(TWIN_A)
for _place in (19, 45, 59, 83, 109, 123):
    _flip[_place] ^= 0x80
TWIN_B = bytes(_flip)


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def put(blobs: LocalBlobs, data: bytes, account: str = ACC) -> str:
    writer = blobs.writer(account)
    writer.write(data)
    return writer.commit().md5


def files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file()]


def test_put_and_read(blobs: LocalBlobs, tmp_path: Path) -> None:
    writer = blobs.writer(ACC)
    for piece in (b"hello ", b"", b"world" * 100_000):
        writer.write(piece)
    whole = b"hello " + b"world" * 100_000
    ref = writer.commit(hashlib.md5(whole).hexdigest(), hashlib.sha256(whole).hexdigest())
    writer.abort()
    assert ref.size_bytes == len(whole)
    assert blobs.read(ACC, ref.md5) == whole
    with blobs.open(ACC, ref.md5) as file:
        assert file.read(6) == b"hello "
        assert file.read() == whole[6:]
        file.seek(0)
        assert file.read(3) == b"hel"
    path = tmp_path / "blobs" / ACC / "files" / "md5" / ref.md5[:2] / ref.md5[2:]
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [(m, s) for m, s, _ in blobs.listing(ACC)] == [(ref.md5, len(whole))]
    assert list(blobs.listing("acc_other")) == []
    assert not blobs.exists("acc_other", ref.md5)
    blobs.delete(ACC, ref.md5)
    blobs.delete(ACC, ref.md5)
    assert files(tmp_path) == []
    with pytest.raises(NotFound):
        blobs.open(ACC, ref.md5)
    with pytest.raises(NotFound):
        blobs.read(ACC, ref.md5)


@pytest.mark.parametrize(
    "name", ["", "../x", "a" * 31, "A" * 32, "a" * 32 + "\n", "a" * 33, "/etc"]
)
def test_what_is_no_address_names_nothing(blobs: LocalBlobs, name: str) -> None:
    assert not blobs.exists(ACC, name)
    with pytest.raises(NotFound):
        blobs.open(ACC, name)
    with pytest.raises(NotFound):
        blobs.writer(f"../{name}")


def test_announced_digests_are_checked(blobs: LocalBlobs, tmp_path: Path) -> None:
    for wrong in ({"md5": "0" * 32}, {"sha256": "0" * 64}):
        writer = blobs.writer(ACC)
        writer.write(b"x")
        with pytest.raises(DigestConflict):
            writer.commit(**wrong)
        with pytest.raises(ValueError, match="over"):
            writer.write(b"y")
    assert files(tmp_path) == []


def test_twins_of_one_md5_cannot_both_be(blobs: LocalBlobs, tmp_path: Path) -> None:
    assert hashlib.md5(TWIN_A).digest() == hashlib.md5(TWIN_B).digest()
    md5 = put(blobs, TWIN_A)
    assert put(blobs, TWIN_A) == md5
    with pytest.raises(DigestConflict):
        put(blobs, TWIN_B)
    (tmp_path / "blobs" / ACC / "sha256" / md5).write_text("")  # torn by a crash: made again
    with pytest.raises(DigestConflict):
        put(blobs, TWIN_B)
    assert put(blobs, TWIN_A) == md5
    assert put(blobs, TWIN_B, "acc_other") == md5  # no account sees another's root
    assert blobs.read(ACC, md5) == TWIN_A


def test_damage_is_seen(blobs: LocalBlobs, tmp_path: Path) -> None:
    md5 = put(blobs, b"x" * 3_000_000)
    path = blobs.path(ACC, md5)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"y")
    with pytest.raises(DigestConflict):
        blobs.read(ACC, md5)
    with blobs.open(ACC, md5) as file, pytest.raises(DigestConflict):
        list(iter(lambda: file.read(65_536), b""))
    plain = LocalBlobs(tmp_path / "blobs", verify=False)
    with plain.open(ACC, md5) as file:
        assert len(file.read()) == 3_000_000


def test_many_at_once(blobs: LocalBlobs) -> None:
    found: list[str] = []

    def work(n: int) -> None:
        found.extend(put(blobs, bytes([i]) * 1000) for i in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert len(list(blobs.listing(ACC))) == 20


def test_abort_leaves_nothing(blobs: LocalBlobs, tmp_path: Path) -> None:
    writer = blobs.writer(ACC)
    writer.write(b"x" * 2_000_000)
    writer.abort()
    writer.abort()
    assert files(tmp_path) == []
    left = blobs.writer(ACC)
    temporary = files(tmp_path)[0]
    os.utime(temporary, (0, 0))
    LocalBlobs(tmp_path / "blobs")
    assert files(tmp_path) == []
    left.abort()


def test_directory_object(blobs: LocalBlobs) -> None:
    md5 = put(blobs, b"x")
    id_ = blobs.put_dir(ACC, [("ü/b", md5), ("a", md5), ("a b/c", md5)])
    assert id_.endswith(".dir")
    listed = json.loads(blobs.read(ACC, id_))
    assert [e["relpath"] for e in listed] == ["a", "a b/c", "ü/b"]
    assert id_ in {m for m, _, _ in blobs.listing(ACC)}
    assert blobs.put_dir(ACC, [("ü/b", md5), ("a b/c", md5), ("a", md5)]) == id_


def test_dvc_writes_the_same(blobs: LocalBlobs, tmp_path: Path) -> None:
    """DVC's own library is the oracle: same addresses, and it can load ours."""
    pytest.importorskip("dvc_data", reason="no oracle: pip install dvc-data")
    from dvc_data.hashfile import load
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.fs.local import LocalFileSystem

    tree = {"a.txt": b"one\r\ntwo\r\n", "sub/ü b.bin": bytes(range(256)), "sub/z": b"", "B": b"b",
            "sub-1/q": b"q", "sub/deeper/x": b"one\r\ntwo\r\n"}  # fmt: skip
    for name, data in tree.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    fs = LocalFileSystem()
    theirs = HashFileDB(fs, str(tmp_path / "theirs"))
    _, _, built = build(theirs, str(tmp_path / "tree"), fs, "md5")
    ours = blobs.put_dir(ACC, [(name, put(blobs, data)) for name, data in tree.items()])
    assert built.hash_info.value == ours
    remote = HashFileDB(fs, str(tmp_path / "blobs" / ACC / "files" / "md5"))
    loaded = load(remote, HashInfo("md5", ours))
    assert {"/".join(k): v[1].value for k, v in loaded.iteritems()} == {
        name: hashlib.md5(data).hexdigest() for name, data in tree.items()
    }
    for name in tree.values():
        assert remote.exists(hashlib.md5(name).hexdigest())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk)
    kept = put(blobs, b"kept")
    writer = blobs.writer(ACC)

    def fill() -> None:
        for _ in range(40):
            writer.write(b"x" * 100_000)
        writer.commit()

    with pytest.raises(StorageFull):
        fill()
    assert [m for m, _, _ in blobs.listing(ACC)] == [kept]
    assert blobs.free_bytes() > 1_000_000
    put(blobs, b"again")


@pytest.mark.parametrize("point", sorted(n for n in crash.names() if n.startswith("blobs.")))
def test_dying_leaves_whole_or_nothing(point: str, tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from trainshed.ports import crash\n"
        "from trainshed.blobs.local import LocalBlobs\n"
        f"crash.arm({point!r}, os._exit)\n"
        f"w = LocalBlobs(pathlib.Path(sys.argv[1])).writer({ACC!r}); w.write(b'whole'); w.commit()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 137
    blobs = LocalBlobs(tmp_path)
    md5 = hashlib.md5(b"whole").hexdigest()
    assert blobs.exists(ACC, md5) == (point == "blobs.after_rename")
    assert put(blobs, b"whole") == md5
    assert blobs.read(ACC, md5) == b"whole"
