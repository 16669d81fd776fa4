"""Granted directories: beneath the root, never through a link, regular files only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainshed.blobs.roots import GrantedRoots


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    made = tmp_path / "root"
    (made / "set" / "deep").mkdir(parents=True)
    (made / "train.py").write_text("code")
    (made / "set" / "a.csv").write_text("a")
    (made / "set" / "deep" / "b.csv").write_text("b")
    (made / "set" / "link.csv").symlink_to(tmp_path / "secret")
    (made / "set" / "away").symlink_to(tmp_path)
    (made / "away").symlink_to(tmp_path)
    (made / "link.py").symlink_to(made / "train.py")
    os.mkfifo(made / "set" / "pipe")
    return made


def found(root: Path, key: str, name: str = "one", limit: int = 100) -> dict[str, bytes]:
    grants = GrantedRoots({"one": [root.parent / "not-there", root]})
    return {path: file.read() for path, file in grants.files(name, key, limit)}


def test_a_file_and_a_folder(root: Path) -> None:
    assert found(root, "train.py") == {"": b"code"}
    assert found(root, "set") == {"a.csv": b"a", "deep/b.csv": b"b"}
    assert found(root, "set/deep") == {"b.csv": b"b"}
    assert len(found(root, "set", limit=1)) == 1


@pytest.mark.parametrize(
    "key", ["link.py", "away/secret", "away", "set/link.csv", "set/away/secret", "set/pipe", "no"]
)
def test_nothing_is_reached_through_a_link_or_is_no_file(root: Path, key: str) -> None:
    assert found(root, key) == {}


def test_an_account_without_a_grant_gets_nothing(root: Path) -> None:
    assert found(root, "train.py", "two") == {}


def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for key in ("set", "train.py", "away/secret", "no/no"):
        found(root, key)
        next(GrantedRoots({"one": [root]}).files("one", key, 9), None)
    assert len(os.listdir("/proc/self/fd")) == before
