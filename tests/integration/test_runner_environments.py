"""Environments that runners build: real pip, a real index on loopback, real sandboxes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runner_shed import Shed, kill, marked, shed, wait_for
from tests.support.index import Index, serving

from trainshed.domain.environment import normalise
from trainshed.runner.environments import key_of

#: A build is two runs of pip, which a busy machine may stretch to minutes.
pytestmark = pytest.mark.timeout(400)

BUILD_S = 120.0
KINDS = [
    "bare",
    pytest.param(
        "bwrap",
        marks=pytest.mark.skipif(
            shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt-get)"
        ),
    ),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Shed]:
    with shed() as one:
        yield one


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with serving(tmp_path) as one:
        yield one


def wanting(index: Index, text: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "requirements", "value": normalise(text), "framework": None, "mapped": False,
        "account": "acc_1", "sdists": False, "build_s": BUILD_S, "max_bytes": 1 << 30,
        "pip": {"PIP_INDEX_URL": index.url},
    } | more  # fmt: skip


def built(place: Shed) -> list[Path]:
    return [p.parent for p in place.data.glob("environments/*/complete.json")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_gives_what_was_asked_for_and_nothing_else(
    place: Shed, index: Index, kind: str
) -> None:
    index.wheel(f"only_{kind}", "WORD = 'built'")
    code = (
        f"import only_{kind}, os, sys, trainshed_job\n"
        f"print(only_{kind}.WORD, sys.prefix != sys.base_prefix)\n"
        "try: import msgspec\nexcept ImportError: print('nothing of the server')\n"
        "try: open(os.path.join(sys.prefix, 'mine'), 'w')\n"
        "except OSError: print('read-only')\n"
        f"try: open(only_{kind}.__file__, 'a')\n"
        "except OSError: print('read-only')\n"
    )
    wants = wanting(index, f"only_{kind} == 1.0")
    attempt = place.launch(["python", "-c", code], kind, environment=wants)
    wait_for(lambda: attempt.finished, BUILD_S)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "exited", attempt.text("system")
    lines = attempt.text().splitlines()
    assert lines[:2] == ["built True", "nothing of the server"]
    assert attempt.started is not None
    if attempt.started["isolation"] != "none":
        assert lines[2:] == ["read-only", "read-only"]
    # The paid clock started with the process: pip alone takes longer than that.
    assert attempt.started["prepare_ms"] > attempt.finished["runtime_ms"]
    told = attempt.text("system")
    assert f"Successfully installed only_{kind}-1.0" in told
    assert "canary-password" not in told + json.dumps(attempt.finished)
    asked = len(index.asked)
    again = place.launch(["python", "-c", code], kind, environment=wants)
    wait_for(lambda: again.finished, BUILD_S)
    assert again.text() == attempt.text()
    assert len(index.asked) == asked


def test_a_missing_package_is_named(place: Shed, index: Index) -> None:
    wants = wanting(index, "nosuchpackage==9")
    attempt = place.launch(["python", "-c", "pass"], environment=wants)
    wait_for(lambda: attempt.finished, BUILD_S)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "environment"
    assert attempt.finished["runtime_ms"] == 0
    assert attempt.started is None
    assert "nosuchpackage==9" in attempt.finished["message"]
    assert "nosuchpackage==9" in attempt.text("system")
    assert "canary-password" not in attempt.text("system") + attempt.finished["message"]
    assert not [
        p for p in place.data.glob("environments/*") if p.is_dir() and p not in built(place)
    ]


def test_two_jobs_at_once_build_once(place: Shed, index: Index) -> None:
    index.wheel("once", "WORD = 1")
    wants = wanting(index, "once")
    both = [
        place.launch(["python", "-c", "import once; print(once.WORD)"], environment=wants)
        for _ in range(2)
    ]
    wait_for(lambda: all(one.finished for one in both), BUILD_S)
    assert [one.text() for one in both] == ["1\n", "1\n"], [one.text("system") for one in both]
    assert len([path for path in index.asked if path.endswith(".whl")]) == 1
    assert sum("Successfully installed" in one.text("system") for one in both) == 1


def test_a_killed_build_leaves_no_half_environment(place: Shed, index: Index) -> None:
    index.wheel("halfway", "WORD = 'whole'")
    stuck = True

    def hold(path: str) -> None:
        while stuck and path.endswith(".whl"):
            time.sleep(0.05)

    index.hold = hold
    before = set(built(place))
    wants = wanting(index, "halfway")
    command = ["python", "-c", "import halfway; print(halfway.WORD)"]
    attempt = place.launch(command, environment=wants)
    wait_for(lambda: any(p.endswith(".whl") for p in index.asked), BUILD_S)
    kill(place.handles[attempt.id]["pid"])
    wait_for(lambda: place.gone(attempt))
    wait_for(lambda: not marked(f"{place.data}/environments"))
    assert set(built(place)) == before
    stuck = False
    again = place.launch(command, environment=wants)
    wait_for(lambda: again.finished, BUILD_S)
    assert again.text() == "whole\n", again.text("system")
    assert len(set(built(place)) - before) == 1


#: A backend that needs nothing else: it leads the environment's interpreter where it likes.
BACKEND = """
import os, sys, zipfile
INFO = "evil-1.0.dist-info"
ABOUT = {{
    "METADATA": "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}}
def prepare_metadata_for_build_wheel(folder, *_):
    os.mkdir(os.path.join(folder, INFO))
    for name, text in ABOUT.items():
        open(os.path.join(folder, INFO, name), "w").write(text)
    return INFO
def build_wheel(folder, *_):
    link = os.path.join(os.path.dirname(sys.executable), "python")
    os.unlink(link)
    os.symlink({target!r}, link)
    with zipfile.ZipFile(os.path.join(folder, "evil-1.0-py3-none-any.whl"), "w") as out:
        out.writestr("evil.py", "")
        for name, text in ABOUT.items():
            out.writestr(f"{{INFO}}/{{name}}", text)
    return "evil-1.0-py3-none-any.whl"
"""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt-get)")
def test_what_a_source_package_leads_to_is_shown_to_no_job(place: Shed, index: Index) -> None:
    hidden = place.data / "hidden"
    hidden.mkdir(mode=0o755)
    (hidden / "key").write_text("canary")
    index.source("evil", BACKEND.format(target=str(hidden / "a" / "b")))
    wants = wanting(index, "evil", sdists=True)
    spy = place.launch(["cat", f"{hidden}/key"], "bwrap", environment=wants)
    wait_for(lambda: spy.finished, BUILD_S)
    assert spy.text() == ""
    assert "No such file" in spy.text("stderr"), spy.text("system")
    honest = place.launch(["python", "-c", "import evil; print(1)"], "bwrap", environment=wants)
    wait_for(lambda: honest.finished, BUILD_S)
    assert honest.text() == "1\n", honest.text("stderr")


def test_a_cancel_ends_a_build(place: Shed, index: Index) -> None:
    index.wheel("never", "")
    over = False

    def hold(path: str) -> None:
        while not over:
            time.sleep(0.05)

    index.hold = hold
    attempt = place.launch(["true"], environment=wanting(index, "never"))
    wait_for(lambda: index.asked, BUILD_S)
    assert attempt.heartbeats
    attempt.order = {"kind": "cancel"}
    wait_for(lambda: attempt.finished)
    over = True
    assert attempt.finished is not None
    assert attempt.finished["stopped_by"] == "cancel"
    assert attempt.started is None
    wait_for(lambda: not marked(f"{place.data}/environments"))


def test_a_build_has_a_time_limit(place: Shed, index: Index) -> None:
    index.wheel("slow", "")
    index.hold = lambda path: time.sleep(5)
    attempt = place.launch(["true"], environment=wanting(index, "slow", build_s=1.5))
    wait_for(lambda: attempt.finished, BUILD_S)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "environment"
    assert "1.5 s" in attempt.finished["message"]


def test_those_not_used_for_longest_go_first(place: Shed, index: Index) -> None:
    place.executor.trim_environments(0, 0)
    index.wheel("newest", "")
    one = place.launch(["true"], environment=wanting(index, "newest"))
    wait_for(lambda: one.finished, BUILD_S)
    wait_for(lambda: place.gone(one))
    (newest,) = built(place)
    eldest, middle = (newest.with_name(digit * 32) for digit in "12")
    for copy in (eldest, middle):
        shutil.copytree(newest, copy, symlinks=True)
        copy.with_name(f"{copy.name}.lock").touch(0o600)
    user = place.launch(
        ["python", "-c", "import time; print(1); time.sleep(60)"],
        environment=wanting(index, "newest"),
    )
    wait_for(lambda: user.text() == "1\n", BUILD_S)
    for age, path in enumerate((newest, middle, eldest)):
        when = time.time() - 1000 * (age + 1)
        os.utime(path / "complete.json", (when, when))
    size = json.loads((eldest / "complete.json").read_text())["size_bytes"]
    half = place.data / "environments" / ("0" * 32)
    half.mkdir()
    place.executor.trim_environments(round(size * 2.5))
    assert [p.exists() for p in (eldest, middle, newest, half)] == [False, True, True, False]
    place.executor.trim_environments(0)
    assert [p.exists() for p in (middle, newest)] == [False, True]


FRAMEWORK = {"name": "pytorch", "package": "torch", "modules": {"torch": "torch", "jax": "jax"}}


def with_framework(**more: Any) -> dict[str, Any]:
    return {"kind": "default", "framework": FRAMEWORK, "mapped": False, "account": "acc_1"} | more


def given(code: str) -> dict[str, Any]:
    data = code.encode()
    return {
        "input_bytes": [data],
        "inputs": [{
            "path": "train.py", "size_bytes": len(data), "unpack": False,
            "sha256": hashlib.sha256(data).hexdigest(), "executable": False,
        }],
    }  # fmt: skip


def test_looking_for_a_framework_runs_nothing_of_the_user(place: Shed) -> None:
    files = {"train.py": b"import torch", "ast.py": b"open('/tmp/ran', 'w')\nprint('absent jax')"}
    attempt = place.run(
        ["python", "train.py"],
        environment=with_framework(account="acc_without"),
        input_bytes=list(files.values()),
        inputs=[
            {"path": name, "size_bytes": len(data), "unpack": False,
             "sha256": hashlib.sha256(data).hexdigest(), "executable": False}
            for name, data in files.items()
        ],
    )  # fmt: skip
    assert attempt.finished is not None
    assert "'torch'" in attempt.finished["message"], attempt.finished
    assert not list(place.data.glob("workspaces/*/tmp/ran"))


def test_what_source_packages_may_have_changed_serves_only_where_they_are_taken() -> None:
    assert key_of(sys.executable, "x\n", True) != key_of(sys.executable, "x\n", False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "code", ["import torch", "from torch.nn import Linear", "import os, torch.nn as nn, sys"]
)
def test_an_absent_framework_costs_nothing(place: Shed, kind: str, code: str) -> None:
    wants = with_framework(account="acc_without")
    attempt = place.run(["python", "train.py", "--x"], kind, environment=wants, **given(code))
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "environment"
    assert attempt.started is None
    assert "'torch'" in attempt.finished["message"]
    assert "requirements file" in attempt.finished["message"]


@pytest.mark.parametrize(
    "code",
    [
        "print('ran')",
        "try:\n    import torch\nexcept ImportError: print('ran')",
        "print('ran')\ndef later(): import torch",
        "print('ran')\nif 0: import jax",
        "print('ran')  # import torch " + "(" * 5000,
        "import sys; sys.stdout.write('ran\\n')",
    ],
)
def test_what_is_not_needed_is_not_asked_for(place: Shed, code: str) -> None:
    wants = with_framework(account="acc_without")
    attempt = place.run(["python", "train.py"], environment=wants, **given(code))
    assert attempt.text() == "ran\n", attempt.text("stderr")


def test_hostile_scripts_are_only_read(place: Shed) -> None:
    """Neither running, nor crashing the parser, nor hanging it gets past the sandbox."""
    wants = with_framework(account="acc_without")
    deep = "x = " + "(" * 100_000 + ")" * 100_000
    attempt = place.run(["python", "train.py"], environment=wants, **given(deep))
    assert attempt.finished is not None
    assert attempt.finished["cause"] in ("exited", "signalled")
    assert attempt.started is not None
    attempt = place.run(["python", "nosuch.py"], environment=wants)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "exited"


def test_an_environment_of_the_same_account_is_found(place: Shed, index: Index) -> None:
    index.wheel("torch", "WORD = 'a stand-in'")
    built_one = place.launch(["true"], environment=wanting(index, "torch", account="acc_torch"))
    wait_for(lambda: built_one.finished, BUILD_S)
    code = given("import torch; print(torch.WORD)")
    mine = with_framework(account="acc_torch")
    attempt = place.run(["python", "train.py"], environment=mine, **code)
    assert attempt.text() == "a stand-in\n", attempt.text("system")
    theirs = with_framework(account="acc_other")
    other = place.run(["python", "train.py"], environment=theirs, **code)
    assert other.finished is not None
    assert other.finished["cause"] == "environment"


def test_requirements_that_lack_the_framework_are_named(place: Shed, index: Index) -> None:
    index.wheel("plain", "")
    wants = wanting(index, "plain", framework=FRAMEWORK)
    attempt = place.launch(["python", "train.py"], environment=wants, **given("import torch"))
    wait_for(lambda: attempt.finished, BUILD_S)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "environment"
    assert "Add 'torch' to the requirements" in attempt.finished["message"]
