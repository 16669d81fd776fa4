"""What of a folder is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainshed_client.errors import InvalidInput
from trainshed_client.folder import scan


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def paths(root: Path, *ignore: str) -> list[str]:
    return [file.path for file in scan(root, ignore=ignore).files]


def test_all_but_the_usual(tmp_path: Path) -> None:
    fill(tmp_path, "train.py", "data/a.csv", ".git/HEAD", "x/__pycache__/y.pyc", ".venv/bin/python")
    assert paths(tmp_path) == ["data/a.csv", "train.py"]
    assert scan(tmp_path).size_bytes == len("data/a.csv") + len("train.py")


def test_rules_of_gitignore(tmp_path: Path) -> None:
    fill(
        tmp_path, "a.log", "keep.log", "sub/b.log", "build/x", "sub/build/y", "data/raw/z", "data/w"
    )
    (tmp_path / ".trainshedignore").write_text("# logs\n*.log\n!keep.log\n/build/\ndata/**/z\n")
    assert paths(tmp_path) == ["data/w", "keep.log", "sub/build/y"]
    assert paths(tmp_path, "sub/") == ["data/w", "keep.log"]


def test_the_usual_can_be_taken_back(tmp_path: Path) -> None:
    fill(tmp_path, "venv/x", "y")
    (tmp_path / ".trainshedignore").write_text("!venv/\n")
    assert paths(tmp_path) == ["venv/x", "y"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    fill(secret, "key")
    root = tmp_path / "root"
    fill(root, "a")
    (root / "file").symlink_to(secret / "key")
    (root / "folder").symlink_to(secret)
    (root / "loop").symlink_to(root)
    found = scan(root)
    assert [file.path for file in found.files] == ["a"]
    assert found.skipped == ("file", "folder", "loop")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        scan(tmp_path / "none")
