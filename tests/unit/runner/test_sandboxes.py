"""Choosing a sandbox and building its arguments, without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainshed.runner.sandboxes import Box, Host, Unreachable, bare, bwrap, choose, unique

ROOT = Host(True, "/usr/bin/bwrap", "/usr/bin/setpriv", "/usr/bin/unshare", True)
BROKEN = Host(True, "/usr/bin/bwrap", "/usr/bin/setpriv", "/usr/bin/unshare", False, "no")
USER = Host(False, "/usr/bin/bwrap", "/usr/bin/setpriv", None, True)
BOX = Box("/d/a/work", "/d/a/tmp", ("/d/a/work", "/d/a/output"), ("/opt/py", "/d/lib"), 5000, False)


@pytest.mark.parametrize(
    ("host", "asked", "reachable", "found"),
    [
        (ROOT, {"kind": "auto", "uid": 7}, False, ("bwrap", "strong", 7)),
        (ROOT, {}, False, ("bwrap", "strong", 99)),
        (ROOT, {"kind": "bare", "uid": 7}, True, ("bare", "partial", 7)),
        (ROOT, {"kind": "bare", "uid": 7}, False, ("bare", "none", None)),
        (BROKEN, {"uid": 0}, True, ("bare", "partial", 99)),
        (USER, {"uid": 7}, True, ("bwrap", "strong", None)),
        (USER, {"kind": "bare", "uid": 7}, True, ("bare", "none", None)),
    ],
)
def test_choice(
    host: Host, asked: dict[str, object], reachable: bool, found: tuple[str, str, int | None]
) -> None:
    one = choose(host, asked, reachable, 99)
    assert (one.kind, one.level, one.uid) == found


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        (BROKEN, {"minimum": "strong"}),
        (ROOT, {"kind": "bare", "minimum": "strong"}),
        (BROKEN, {"kind": "bwrap"}),
        (ROOT, {"kind": "podman"}),
        (BROKEN, {"minimum": "nonsense"}),
    ],
)
def test_below_the_minimum_is_refused(host: Host, asked: dict[str, object]) -> None:
    with pytest.raises(Unreachable, match=r"isolat|sandbox|bwrap"):
        choose(host, asked, True, 99)


def test_bwrap_as_root_drops_to_the_uid() -> None:
    args = bwrap.arguments(ROOT, BOX, ["/bin/true", "x"])
    assert args[-2:] == ["/bin/true", "x"]
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-net", "--die-with-parent"} <= set(args)
    assert args[args.index("--reuid") + 1] == "5000"
    assert "--unshare-user" not in args
    assert "/d/a" not in [args[i + 1] for i, arg in enumerate(args) if arg == "--bind"]


def test_bwrap_as_user_uses_a_user_namespace() -> None:
    box = Box("/w", "/t", ("/w",), (), None, True)
    args = bwrap.arguments(USER, box, ["/bin/true"])
    assert "--unshare-user" in args
    assert "setpriv" not in " ".join(args)
    assert "--unshare-net" not in args


def test_data_directory_inside_what_is_readable_is_covered() -> None:
    box = Box("/opt/d/a/work", "/opt/d/a/tmp", ("/opt/d/a/work",), ("/opt", "/opt/d/lib"), 5, True,
              hidden="/opt/d")  # fmt: skip
    args = bwrap.arguments(ROOT, box, ["/bin/true"])
    mounts = [
        args[i + 1] for i, arg in enumerate(args) if arg in ("--ro-bind-try", "--tmpfs", "--bind")
    ]
    order = [path for path in mounts if path.startswith("/opt")]
    assert order == ["/opt/d/a/tmp", "/opt", "/opt/d", "/opt/d/lib", "/opt/d/a/work"]


def test_bare_drops_and_dies_with_the_runner() -> None:
    args = bare.arguments(ROOT, BOX, ["/bin/true"])
    assert args[:3] == ["/usr/bin/unshare", "--net", "--"]
    assert args[args.index("--pdeathsig") + 1] == "KILL"
    assert bare.arguments(Host(False), BOX, ["/bin/true"]) == ["/bin/true"]


def test_reachable(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert not bare.reachable([str(tmp_path)])
    assert bare.reachable(["/usr/bin"])
    assert not bare.reachable([os.path.join(str(tmp_path), "absent")])


def test_unique() -> None:
    assert unique(["/a/b", "/a", "/ab", "", "/a/b/c/"]) == ("/a", "/ab")
