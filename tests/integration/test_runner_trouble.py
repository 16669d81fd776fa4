"""Servers that go away, runners that are killed, and jobs that are hostile."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runner_shed import Shed, kill, marked, shed, wait_for
from tests.unit.runner.fake_server import UID, Attempt

from trainshed.executors.process.executor import ProcessExecutor
from trainshed.ports.executor import Launch

ROOT = os.getuid() == 0
HAS_BWRAP = shutil.which("bwrap") is not None
needs_root = pytest.mark.skipif(not ROOT, reason="needs root to have another uid")
needs_bwrap = pytest.mark.skipif(not HAS_BWRAP, reason="bubblewrap is not installed (apt-get)")
KINDS = ["bare", pytest.param("bwrap", marks=needs_bwrap)]
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def place() -> Iterator[Shed]:
    with shed() as one:
        yield one


def given(data: bytes, path: str, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"path": path, "size_bytes": len(data), "sha256": digest, "md5": "", **more}


def packed(members: dict[str, bytes | str]) -> bytes:
    """Return a tar; text values are symbolic links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, value in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
                tar.addfile(info)
            else:
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
    return out.getvalue()


def test_server_away_and_back_loses_nothing(place: Shed) -> None:
    code = """
import time
for i in range(150):
    print(f'METRIC:{{"v": {i}, "step": {i}}}')
    time.sleep(0.01)
"""
    attempt = place.launch(["python", "-c", code])
    wait_for(lambda: "5" in attempt.text())
    place.server.stop()
    time.sleep(0.3)
    frozen = len(attempt.text())
    time.sleep(1.5)
    assert len(attempt.text()) == frozen
    place.server.start()
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["exit_code"] == 0
    assert attempt.text() == "".join(f'METRIC:{{"v": {i}, "step": {i}}}\n' for i in range(150))
    assert attempt.metric("v") == [(i, i) for i in range(150)]


def test_server_away_when_the_job_starts_and_ends(place: Shed) -> None:
    place.server.stop()
    attempt = Attempt(["sh", "-c", "echo done"])
    place.server.add(attempt)
    order = Launch(attempt.id, attempt.token, place.server.url)
    place.handles[attempt.id] = place.executor.launch(order)
    time.sleep(0.3)
    assert not place.gone(attempt)
    place.server.start()
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "done\n"


@pytest.mark.parametrize("kind", KINDS)
def test_killed_runner_takes_its_job_along(place: Shed, kind: str) -> None:
    mark = uuid.uuid4().hex
    code = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(600)  # {mark}
    os._exit(0)
print("up")
time.sleep(600)
"""
    attempt = place.launch(["python", "-c", code], kind)
    wait_for(lambda: attempt.text() == "up\n")
    wait_for(lambda: len(marked(mark)) >= 2)
    kill(place.handles[attempt.id]["pid"])
    wait_for(lambda: place.gone(attempt))
    assert place.executor.stop(attempt.id, place.handles[attempt.id])
    assert marked(mark) == []
    seen = place.executor.poll({attempt.id: place.handles[attempt.id]})[attempt.id]
    assert (seen.alive, seen.outcome) == (False, None)


@pytest.mark.parametrize("kind", KINDS)
def test_stop_ends_everything_now(place: Shed, kind: str) -> None:
    mark = uuid.uuid4().hex
    code = f"import os, time; os.fork(); os.fork(); print('up'); time.sleep(600)  # {mark}"
    attempt = place.launch(["python", "-c", code], kind)
    wait_for(lambda: "up" in attempt.text())
    began = time.monotonic()
    assert place.executor.stop(attempt.id, {}), "found by what the runner left on disk"
    assert time.monotonic() - began < 5
    assert marked(mark) == []
    place.executor.clean(attempt.id)
    assert not place.folder(attempt).exists()


def test_killed_template_and_runner_leave_nothing() -> None:
    mark = uuid.uuid4().hex
    with shed() as own:
        code = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)  # {mark}
print("up")
time.sleep(600)
"""
        attempt = own.launch(["python", "-c", code], "bare")
        wait_for(lambda: attempt.text() == "up\n")
        kill(own.executor._ask({"op": "hello"})["pid"])  # type: ignore[index]
        kill(own.handles[attempt.id]["pid"])
        wait_for(lambda: own.gone(attempt))
        assert own.executor.stop(attempt.id, own.handles[attempt.id])
        assert marked(mark) == []
        assert own.run(["true"]).finished, "a new template is started"


def test_same_attempt_twice_is_one_runner(place: Shed) -> None:
    attempt = place.launch(["sleep", "0.5"])
    order = Launch(attempt.id, attempt.token, place.server.url)
    assert place.executor.launch(order) == place.handles[attempt.id]
    wait_for(lambda: attempt.finished)
    assert attempt.calls.count("assignment") == 1


def test_template_outlives_the_executor_and_leaves_with_its_data() -> None:
    with shed() as own:
        attempt = own.launch(["sleep", "1"])
        first = own.executor._ask({"op": "hello"})
        again = ProcessExecutor(own.data)
        assert again.poll(own.handles)[attempt.id].alive
        assert again._ask({"op": "hello"}) == first
        wait_for(lambda: attempt.finished)
        again._stamp = "another version"
        own.executor = again
        assert own.run(["true"]).finished
        second = again._ask({"op": "hello"})
        assert first is not None
        assert second is not None
        assert second["pid"] != first["pid"]
        wait_for(lambda: not Path(f"/proc/{first['pid']}/exe").exists(), 10)
    wait_for(lambda: not Path(f"/proc/{second['pid']}").exists(), 10)


def test_long_data_paths() -> None:
    base = Path(tempfile.mkdtemp()) / ("d" * 60) / ("e" * 60)
    base.mkdir(parents=True)
    own = Shed(base)
    try:
        assert own.run(["true"]).finished
    finally:
        own.close()
        shutil.rmtree(base.parents[1])


SPY = """
import os, glob
print("uid", os.getuid())
paths = [SECRET, SOCK, "/etc/shadow", *glob.glob(os.path.join(ALL, "*", "work", "*"))]
for path in paths + glob.glob("/proc/[0-9]*/environ"):
    try:
        data = open(path, "rb").read()
        if b"CANARY" in data: print("READ", path)
    except OSError:
        pass
print("keys", " ".join(sorted(os.environ)))
print("fds", sorted(int(x) for x in os.listdir("/proc/self/fd"))[:4])
"""


def spy(own: Shed, kind: str, python: str, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    monkeypatch.setenv("CANARY", "CANARY")
    own.executor.shut()
    secret = own.data / "secrets"
    secret.write_text("CANARY")
    secret.chmod(0o600)
    neighbour = own.data / "workspaces" / "att_other" / "work"
    if not neighbour.exists():
        neighbour.mkdir(parents=True)
    neighbour.chmod(0o700)
    (neighbour / "data").write_text("CANARY")
    code = SPY.replace("SECRET", repr(str(secret))).replace("SOCK", repr(str(own.server.path)))
    code = code.replace("ALL", repr(str(own.data / "workspaces")))
    env = {"MINE": "1", "CUDA_VISIBLE_DEVICES": "7"}
    return own.run(["python", "-c", code], kind, python=python, env=env)


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_job_reads_nothing_of_the_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"{SYSTEM_PYTHON} is not there: no interpreter that every user can read")
    with shed() as own:
        attempt = spy(own, kind, SYSTEM_PYTHON, monkeypatch)
        assert attempt.started is not None
        assert attempt.started["isolation"] == {"bare": "partial", "bwrap": "strong"}[kind]
        lines = attempt.text().splitlines()
        assert lines[0] == f"uid {UID}"
        assert not [line for line in lines if line.startswith("READ")]
        keys = set(lines[1].split()[1:])
        assert keys - {"PWD", "LC_CTYPE"} == {
            "CHECKPOINT_DIR", "CUDA_VISIBLE_DEVICES", "HOME", "JOB_ID", "LANG", "MINE",
            "OUTPUT_DIR", "PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR",
            "TRAINSHED_API_URL", "TRAINSHED_ATTEMPT",
            "TRAINSHED_CHECKPOINT_DIR", "TRAINSHED_INPUT_DIR", "TRAINSHED_JOB_ID",
            "TRAINSHED_OUTPUT_DIR", "TRAINSHED_TOKEN",
        }  # fmt: skip
        assert lines[2] == "fds [0, 1, 2, 3]", "3 is the listing itself"


@needs_root
@needs_bwrap
def test_sandbox_shows_little_and_writes_nowhere_else(place: Shed) -> None:
    script = "ls /; ls /root /home; touch /x /usr/x /etc/x; cat /etc/shadow"
    attempt = place.run(
        ["sh", "-c", f"({script}) 2>&1; echo $CUDA_VISIBLE_DEVICES; grep Cap /proc/self/status"]
    )
    text = attempt.text()
    assert "home\n" not in text.split("ls: ")[0]
    for path in ("/x", "/usr/x", "/etc/x"):
        assert f"cannot touch '{path}'" in text
    assert "/etc/shadow: No such file" in text
    assert "CapEff:\t0000000000000000" in text
    assert "CapBnd:\t0000000000000000" in text


@needs_root
@needs_bwrap
def test_no_network_when_asked(place: Shed) -> None:
    code = "print(open('/proc/net/dev').read().count(':'))"
    sandbox = {"kind": "bwrap", "uid": UID, "network": "none", "minimum": "strong"}
    attempt = Attempt(["python", "-c", code], sandbox=sandbox)
    place.server.add(attempt)
    order = Launch(attempt.id, attempt.token, place.server.url)
    place.handles[attempt.id] = place.executor.launch(order)
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "1\n"


def test_minimum_isolation_is_kept(place: Shed) -> None:
    sandbox = {"kind": "bare", "uid": UID, "network": "host", "minimum": "strong"}
    attempt = Attempt(["touch", "ran"], sandbox=sandbox)
    place.server.add(attempt)
    order = Launch(attempt.id, attempt.token, place.server.url)
    place.handles[attempt.id] = place.executor.launch(order)
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "start_failed"
    assert "bubblewrap" in attempt.finished["message"]


def test_inputs_are_verified_and_unpacked(place: Shed) -> None:
    archive = packed({"pkg/a.py": b"print('packed')", "pkg/deep/data": b"x" * 1000})
    script = b"#!/bin/sh\ncat data.txt; python3 lib/pkg/a.py\n"
    inputs = [
        given(b"hello\n", "data.txt"),
        given(archive, "lib", unpack=True),
        given(script, "bin/run.sh", executable=True),
    ]
    attempt = place.run(["bin/run.sh"], inputs=inputs, input_bytes=[b"hello\n", archive, script])
    assert attempt.text() == "hello\npacked\n", attempt.finished


@pytest.mark.parametrize(
    ("path", "data", "unpack"),
    [
        ("../x", b"x", False),
        ("/etc/x", b"x", False),
        ("lib", packed({"../../x": b"x"}), True),
        ("lib", packed({"/x": b"x"}), True),
        ("lib", packed({"a": "/etc", "a/x": b"x"}), True),
        ("lib", b"no archive", True),
        ("lib", packed({"bomb": bytes(80_000_000)}), True),
    ],
    ids=["up", "absolute", "slip", "absolute inside", "link", "no archive", "bomb"],
)
def test_bad_inputs_start_nothing(place: Shed, path: str, data: bytes, unpack: bool) -> None:
    inputs = [given(data, path, unpack=unpack)]
    attempt = place.run(["true"], inputs=inputs, input_bytes=[data])
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "input_missing"
    assert attempt.started is None
    assert not (place.folder(attempt) / "x").exists()


def test_wrong_digest_is_refused(place: Shed) -> None:
    attempt = place.run(["true"], inputs=[given(b"right", "a")], input_bytes=[b"wrong"])
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "input_missing"
    assert "digest" in attempt.finished["message"]


def test_resume_finds_the_checkpoint(place: Shed) -> None:
    resume = {"artifact_id": "art_1", "step": 5, "files": [given(b"weights", "checkpoint-5/w")]}
    attempt = place.run(
        ["sh", "-c", 'cat "$TRAINSHED_RESUME_FROM/checkpoint-5/w"'],
        resume=resume, resume_bytes=[b"weights"],
    )  # fmt: skip
    assert attempt.text() == "weights"


def test_truncating_stdout_is_harmless(place: Shed) -> None:
    script = (
        "echo and one; until [ -e go ]; do sleep 0.02; done;"
        "echo two > /dev/stdout; echo 3 >> /dev/stderr"
    )
    attempt = place.launch(["sh", "-c", script])
    wait_for(lambda: attempt.text() == "and one\n")  # what is not sent yet goes with the file
    (place.folder(attempt) / "work" / "go").touch()
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "and one\ntwo\n", (attempt.finished, attempt.streams)
    assert attempt.text("stderr") == "3\n"
    rest = place.executor.rest_of_log
    assert rest(attempt.id, "stdout", 0, 100) == b"", "its offsets are no longer the stream's"
    assert (rest(attempt.id, "stderr", 0, 100), rest(attempt.id, "stderr", 2, 9)) == (b"3\n", b"")
    assert rest(attempt.id, "../../secret", 0, 100) == b""
