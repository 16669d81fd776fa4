"""The folder that an account's Jobs of a closed workload share, and what bounds it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from trainshed.executors.process import caches
from trainshed.runner import cache
from trainshed.runner.sandboxes import Choice
from trainshed.wire.v1 import Assignment

ACCOUNT = "acc_" + "a" * 32
PLAIN = Choice("bare", "none", None)


def job(**asked: str) -> Assignment:
    return Assignment("att_1", "job_1", 1, "token", ["x"], "python", cache=asked)


def test_an_account_has_its_own(tmp_path: Path) -> None:
    one = job(name="board", account=ACCOUNT)
    path = Path(cache.prepare(str(tmp_path), one, PLAIN))
    assert path.is_dir()
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.relative_to(tmp_path / "caches" / "board" / ACCOUNT)
    assert cache.variable(one) == "TRAINSHED_BOARD_CACHE"
    other = cache.prepare(str(tmp_path), job(name="board", account="acc_" + "b" * 32), PLAIN)
    assert other != str(path)
    assert cache.prepare(str(tmp_path), one, PLAIN) == str(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders to another uid")
def test_each_uid_has_its_own(tmp_path: Path) -> None:
    one = job(name="board", account=ACCOUNT)
    first, second = (
        Path(cache.prepare(str(tmp_path), one, Choice("bwrap", "strong", uid)))
        for uid in (70_001, 70_002)
    )
    assert first != second
    assert (first.stat().st_uid, second.stat().st_uid) == (70_001, 70_002)


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"name": "board"}, {"name": "", "account": ACCOUNT},
        {"name": "../x", "account": ACCOUNT}, {"name": "board", "account": "../../etc"},
    ],
)  # fmt: skip
def test_whoever_has_none(tmp_path: Path, asked: dict[str, str]) -> None:
    assert cache.prepare(str(tmp_path), job(**asked), PLAIN) == ""
    assert list(tmp_path.iterdir()) == []


def test_another_uid_without_namespaces_could_not_reach_it(tmp_path: Path) -> None:
    one = job(name="board", account=ACCOUNT)
    assert cache.prepare(str(tmp_path), one, Choice("bare", "partial", 70_001)) == ""


def test_the_oldest_go_first_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(bytes(100))
    root = tmp_path / "caches"
    deep = root / "board" / ACCOUNT / "0"
    deep.mkdir(parents=True)
    (deep / "away").symlink_to(outside)
    (deep / "link").symlink_to(outside / "kept")
    for n in range(5):
        (deep / f"f{n}").write_bytes(bytes(100))
        os.utime(deep / f"f{n}", (n, n))
    caches.trim(root, 10_000)
    assert len(list(deep.glob("f*"))) == 5
    own = (deep / "link").lstat().st_size  # the youngest; a link to a folder is none of the files
    caches.trim(root, 250 + own, spared_s=0)
    assert sorted(p.name for p in deep.glob("f*")) == ["f3", "f4"]
    young = time.time()
    os.utime(deep / "f4", (young, young))
    caches.trim(root, 0)
    assert [p.name for p in deep.glob("f*")] == ["f4"]
    assert (outside / "kept").exists()
    caches.trim(tmp_path / "nothing", 0)
