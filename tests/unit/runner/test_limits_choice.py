"""Which cgroups an Attempt gets, on fake trees: v2 alone, v1 alone, both, none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trainshed.runner import limits

LIMITS = {"memory_bytes": 1 << 30, "pids": 64, "millicpus": 1500}
V2 = ("cgroup.procs", "cgroup.kill", "memory.max", "memory.swap.max", "pids.max", "cpu.max")
V1 = (
    "tasks", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max",
    "cpu.cfs_quota_us",
)  # fmt: skip


class Tree:
    """A folder that fills new groups with files, as the kernel does."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.knobs: dict[str, tuple[str, ...]] = {}
        self._mkdir = os.mkdir
        self._own = ""
        monkeypatch.setattr(limits, "ROOT", str(root))
        monkeypatch.setattr(limits.os, "mkdir", self.make)
        monkeypatch.setattr(limits, "read_text", self.read)

    def make(self, path: Any, mode: int = 0o777) -> None:
        self._mkdir(path, mode)
        mount = max((m for m in self.knobs if str(path).startswith(m)), key=len, default=None)
        for name in self.knobs[mount] if mount is not None else ():
            Path(path, name).touch()

    def mount(self, where: str, group: str, knobs: tuple[str, ...]) -> None:
        """Mount a hierarchy with our own group in it."""
        place = self.root / where if where else self.root
        self.knobs[str(place)] = knobs
        for folder in (place, place / group.strip("/")):
            folder.mkdir(parents=True, exist_ok=True)
            for name in (*knobs, "cgroup.subtree_control"):
                (folder / name).touch()

    def belong(self, *lines: str) -> None:
        """Set what /proc/self/cgroup says."""
        self._own = "\n".join(lines) + "\n"

    def read(self, path: str) -> str:
        return self._own if path == "/proc/self/cgroup" else Path(path).read_text()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path / "cgroup", monkeypatch)


def test_v2_alone_limits_everything_in_one_group(tree: Tree) -> None:
    tree.mount("", "/system.slice/shed.service", V2)
    tree.belong("0::/system.slice/shed.service")
    homes = limits.find_homes()
    assert homes == {"unified": f"{tree.root}/system.slice/shed.service"}
    group = limits.create(homes, "att_1", LIMITS, in_namespace=True)
    place = tree.root / "trainshed" / "att_1"
    assert group.unified == str(place)
    assert group.paths == dict.fromkeys(("memory", "pids", "cpu"), str(place))
    assert group.limits_memory
    assert (place / "memory.max").read_text() == str(1 << 30)
    assert (place / "memory.swap.max").read_text() == "0"
    assert (place / "pids.max").read_text() == "64"
    assert (place / "cpu.max").read_text() == "150000 100000"
    assert "+cpu" in (tree.root / "cgroup.subtree_control").read_text()
    group.enter()
    assert (place / "cgroup.procs").read_text() == "0"
    group.leave()
    assert Path(homes["unified"], "cgroup.procs").read_text() == "0"
    (place / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (place / "memory.peak").write_text("4096\n")
    assert (group.oom_kills(), group.peak_bytes()) == (2, 4096)


def test_v2_without_controllers_still_ends_the_tree(tree: Tree) -> None:
    """As in a container whose controllers were not passed down: the watchdog limits memory."""
    tree.mount("", "/", ("cgroup.procs", "cgroup.kill"))
    tree.belong("0::/")
    group = limits.create(limits.find_homes(), "att_1", LIMITS, in_namespace=False)
    assert group.unified == f"{tree.root}/trainshed/att_1"
    assert group.paths == {}
    assert not group.limits_memory
    assert (group.oom_kills(), group.peak_bytes()) == (0, None)


def test_v1_alone_has_a_group_for_each_controller(tree: Tree) -> None:
    for name in ("memory", "pids", "cpu"):
        tree.mount(name, "/docker/x", V1)
    tree.belong("4:memory:/docker/x", "3:pids:/docker/x", "2:cpu,cpuacct:/docker/x", "1:freezer:/")
    group = limits.create(limits.find_homes(), "att_1", LIMITS, in_namespace=True)
    assert group.unified is None
    assert {n: str(Path(p).relative_to(tree.root)) for n, p in group.paths.items()} == {
        n: f"{n}/docker/x/trainshed/att_1" for n in ("memory", "pids", "cpu")
    }
    assert Path(group.paths["memory"], "memory.limit_in_bytes").read_text() == str(1 << 30)
    assert Path(group.paths["cpu"], "cpu.cfs_quota_us").read_text() == "150000"


@pytest.mark.parametrize("in_namespace", [True, False])
def test_beside_v1_v2_only_kills_and_only_where_needed(tree: Tree, in_namespace: bool) -> None:
    tree.mount("memory", "/", V1)
    tree.mount("unified", "/", ("cgroup.procs", "cgroup.kill"))
    tree.belong("4:memory:/", "0::/")
    group = limits.create(limits.find_homes(), "att_1", LIMITS, in_namespace)
    assert set(group.paths) == {"memory"}
    assert group.unified == (None if in_namespace else f"{tree.root}/unified/trainshed/att_1")


def test_where_nothing_can_be_written_there_is_none(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.mount("", "/", V2)
    tree.belong("0::/")
    monkeypatch.setattr(limits.os, "access", lambda *_: False)
    assert limits.find_homes() == {}
    assert limits.create({}, "att_1", LIMITS, in_namespace=True) == limits.Cgroup()
