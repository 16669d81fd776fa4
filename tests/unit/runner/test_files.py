"""Archives, collection and small helpers on real directories."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainshed.runner import collect, etc, launch, report
from trainshed.runner.client import Changed
from trainshed.runner.collect import CollectFailed, listing, step_of
from trainshed.runner.unpack import BadArchive, unpack
from trainshed.runner.workspace import Workspace, safe_relative
from trainshed.wire.v1 import Assignment


def zipped(members: dict[str, bytes], mode: int = 0o644 << 16) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def try_unpack(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "in").write_bytes(data)
    target = tmp_path / "out"
    target.mkdir()
    unpack(str(tmp_path / "in"), str(target), None)
    return target


def test_zip_with_folders_and_modes(tmp_path: Path) -> None:
    data = zipped({"a/b.txt": b"x", "run.sh": b"y"}, 0o100755 << 16)
    target = try_unpack(tmp_path, data)
    assert (target / "a/b.txt").read_bytes() == b"x"
    assert os.access(target / "run.sh", os.X_OK)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "a\\b"])
def test_zip_traversal(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArchive):
        try_unpack(tmp_path, zipped({name: b"x"}))
    assert list((tmp_path / "out").rglob("*")) == []


def test_zip_links_bombs_and_nonsense(tmp_path: Path) -> None:
    for number, data in enumerate(
        [
            zipped({"link": b"/etc"}, 0o120777 << 16),
            zipped({"bomb": bytes(100_000_000)}),
            zipped({"a": b"file", "a/b": b"inside a file"}),
            b"PK nothing",
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(BadArchive):
            try_unpack(folder, data)


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_tar_of_anything_but_files(tmp_path: Path, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("x")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(BadArchive):
        try_unpack(tmp_path, out.getvalue())


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a\0b"])
def test_unsafe_paths(path: str) -> None:
    with pytest.raises(ValueError, match=r"x|a"):
        safe_relative(path)


def test_listing_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_text("x")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "file").symlink_to("/etc/passwd")
    (tmp_path / ".tmp-half").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    found = listing(str(tmp_path))
    assert [entry.path for entry in found.entries] == ["a/f"]
    assert sorted(found.skipped) == ["file", "pipe", "up"]
    assert listing(str(tmp_path / "file")).entries == []


def test_damage_on_the_way_is_a_bad_archive(tmp_path: Path) -> None:
    """Whatever the readers raise: else the runner dies, and its job is lost ten times."""
    packed, noise = io.BytesIO(), bytes(range(256)) * 16
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr("a", noise)
    files = {"x.zip": packed.getvalue()}
    for kind in ("gz", "xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=f"w:{kind}") as tar:
            for name in "ab":
                info = tarfile.TarInfo(name)
                info.size = len(noise)
                tar.addfile(info, io.BytesIO(noise))
        files[f"x.{kind}"] = packed.getvalue()
    refused = 0
    for name, data in files.items():
        for at in range(0, len(data), 3):
            (tmp_path / name).write_bytes(data[:at] + b"\xff\xee" + data[at + 2 :])
            try:
                unpack(str(tmp_path / name), str(tmp_path), None)
            except BadArchive:
                refused += 1
            except OSError:
                pass  # told as an input that cannot be written
    assert refused > 50


def test_swapped_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    (entry,) = listing(str(tmp_path)).entries
    (tmp_path / "f").unlink()
    (tmp_path / "f").symlink_to("/etc/passwd")
    with pytest.raises(Changed), collect._opened(str(tmp_path), entry):
        pass


def test_too_deep(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 80)).mkdir(parents=True)
    with pytest.raises(CollectFailed, match="deep"):
        listing(str(tmp_path))


def test_step_of_a_checkpoint(tmp_path: Path) -> None:
    for number in (100, 900, 500):
        (tmp_path / f"checkpoint-{number}").mkdir()
        path = tmp_path / f"checkpoint-{number}" / "w"
        path.write_text("x")
        os.utime(path, ns=(number, number))
    assert step_of(str(tmp_path), listing(str(tmp_path))) == 900
    (tmp_path / "step.json").write_text('{"step": 7}')
    assert step_of(str(tmp_path), listing(str(tmp_path))) == 7
    (tmp_path / "none").mkdir()
    assert step_of(str(tmp_path / "none"), listing(str(tmp_path / "none"))) is None


def test_environment_of_a_job() -> None:
    env = {"CUDA_VISIBLE_DEVICES": "9", "TRAINSHED_TOKEN": "x", "PYTHONPATH": "lib", "A=B": "1"}
    job = Assignment("att", "job", 1, "token", ["x"], "/v/bin/python", env, devices=["GPU-1"])
    found = launch.environment(job, Workspace("/w"), "/lib", "/tmp")
    assert found["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert found["TRAINSHED_TOKEN"] == "token"
    assert found["PYTHONPATH"] == "lib:/lib"
    assert found["PATH"].startswith("/v/bin:")
    assert "TRAINSHED_RESUME_FROM" not in found
    assert "A=B" not in found


def test_etc_names_uids_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    host = tmp_path / "host"
    (host / "ssl" / "private").mkdir(parents=True)
    (host / "ssl" / "private" / "secret").write_text("x")
    (host / "resolv.conf").write_text("one")
    (host / "shadow").write_text("x")
    etc.build(str(tmp_path), str(host))
    for uid in (5000, 5001, 5000):
        etc.prepare(str(tmp_path), uid, str(host))
    (host / "resolv.conf").write_text("other")
    os.utime(host / "resolv.conf", ns=(1, 1))
    etc.prepare(str(tmp_path), None, str(host))
    made = Path(etc.folder(str(tmp_path)))
    assert (made / "passwd").read_text().count("\n") == 3
    assert (made / "resolv.conf").read_text() == "other"
    assert sorted(p.name for p in made.rglob("*")) == ["group", "passwd", "resolv.conf", "ssl"]


def test_sentences() -> None:
    assert report.size(1536 * 1024**2) == "1.5 GiB"
    assert report.size(64 << 20) == "64 MiB"
    assert report.duration(86_400_000) == "24 h"
    assert report.duration(400) == "0.4 s"
    assert report.exit_of(9, False).signal == 9
    assert report.exit_of(137 << 8, True).signal == 9
    assert report.exit_of(137 << 8, False).code == 137
    assert report.exit_of(255 << 8, True).code == 255
