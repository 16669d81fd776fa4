"""The runner's side of containers, with a real engine and a server that only answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runner_shed import Shed, kill, marked, shed, wait_for
from tests.support.images import PYTHON, SHELL, Engine
from tests.unit.runner.fake_server import UID, Attempt


@pytest.fixture
def place(containers: Engine) -> Iterator[Shed]:
    with shed() as one:
        yield one
    left = [name for one_id in one.handles for name in containers.containers(one_id)]
    assert left == []


def container(image: str = SHELL, **asked: Any) -> dict[str, Any]:
    """Return the fields of an Assignment that make it a container's."""
    return {
        "environment": {"kind": "image", "value": image},
        "container": {"name": image.rpartition(":")[0], "reference": image, "engine": "podman"}
        | asked,
    }


def ended(attempt: Attempt) -> dict[str, Any]:
    assert attempt.finished is not None
    return attempt.finished


def test_a_container_runs_the_command_and_says_where_it_ran(
    place: Shed, containers: Engine
) -> None:
    code = "id -u; cat /proc/self/status; env; echo oops >&2; exit 7"
    attempt = place.run(["sh", "-c", code], env={"LR": "3e-4 # no comment"}, **container())
    done = ended(attempt)
    assert (done["cause"], done["exit_code"]) == ("exited", 7), (done, attempt.text("stderr"))
    text = attempt.text()
    uid = str(UID) if os.getuid() == 0 else str(os.getuid())
    assert text.splitlines()[0] == uid
    assert "CapEff:\t0000000000000000" in text
    assert "CapBnd:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    assert "LR=3e-4 # no comment" in text
    assert "TRAINSHED_OUTPUT_DIR=/trainshed/output" in text
    assert str(place.data) not in text
    assert attempt.text("stderr") == "oops\n"
    assert attempt.started is not None
    assert attempt.started["isolation"] == "strong"
    assert attempt.started["image_digest"] == containers.digest(SHELL) == done["image_digest"]
    assert containers.containers(attempt.id) == []
    wait_for(lambda: place.gone(attempt))
    left = {path.name for path in place.folder(attempt).iterdir()}
    assert not left & {"container.json", "container.env", "engine"}


def test_only_its_own_folders_are_writable_and_their_files_are_kept(place: Shed) -> None:
    code = (
        "echo 1 > $TRAINSHED_OUTPUT_DIR/model; echo 2 > $TRAINSHED_CHECKPOINT_DIR/c; echo 3 > w;"
        "echo 4 > /tmp/t; echo 5 > $HOME/h;"
        "for d in / /bin /etc /usr /trainshed /trainshed/lib; do touch $d/x && echo wrote $d; done;"
        "ls /trainshed"
    )
    attempt = place.run(["sh", "-c", code], **container())
    assert ended(attempt)["exit_code"] == 0, attempt.text("stderr")
    assert "wrote" not in attempt.text()
    assert attempt.text().split() == ["checkpoints", "job", "lib", "output", "work"]
    kept = {a["kind"]: [f["path"] for f in a["files"]] for a in attempt.artifacts}
    assert kept == {"artifact": ["model"], "checkpoint": ["c"]}


def test_python_in_a_container_logs_metrics_with_the_helper(place: Shed) -> None:
    code = (
        "import trainshed_job, sys\n"
        "for step in range(3):\n    trainshed_job.log(step=step, loss=1 / (step + 1))\n"
        "print(sys.prefix)\n"
    )
    attempt = place.run(["python", "-c", code], **container(PYTHON))
    assert ended(attempt)["exit_code"] == 0, attempt.text("stderr")
    assert attempt.text() == "/usr/local\n"
    assert [(p[0], p[1]) for p in attempt.points] == [("loss", 0), ("loss", 1), ("loss", 2)]


def test_arguments_are_taken_as_they_are(place: Shed) -> None:
    odd = ["--privileged", "-v", "/:/host", "$(id)", "a b", "", '["x"]', "é\n"]
    attempt = place.run(["sh", "-c", 'for a in "$@"; do echo "<$a>"; done', "sh", *odd],
                        **container())  # fmt: skip
    assert attempt.text() == "".join(f"<{one}>\n" for one in odd)


@pytest.mark.parametrize("command", [["no-such-program"], ["/etc"], ["/marker"]])
def test_a_program_that_is_not_there(place: Shed, command: list[str]) -> None:
    attempt = place.run(command, **container())
    done = ended(attempt)
    assert done["cause"] == "start_failed", done
    assert "could not be started" in done["message"]


def test_memory_is_limited_and_the_end_explained(place: Shed) -> None:
    code = "x = bytearray(300 * 1024 * 1024)"
    attempt = place.run(
        ["python", "-c", code], limits={"memory_bytes": 64 << 20}, **container(PYTHON)
    )
    done = ended(attempt)
    assert done["cause"] == "memory", (done, attempt.text("stderr"))
    assert "64 MiB" in done["message"]


def test_processes_and_time_are_limited(place: Shed) -> None:
    code = "for i in $(seq 100); do sleep 30 & done; echo unlimited; wait"
    attempt = place.run(
        ["sh", "-c", code], limits={"pids": 20, "max_runtime_ms": 1500}, **container()
    )
    assert "unlimited" not in attempt.text() or "fork" in attempt.text("stderr")
    limit = place.run(["sleep", "60"], limits={"max_runtime_ms": 700}, **container())
    assert ended(limit)["cause"] == "timeout"


def test_the_clock_runs_while_the_users_process_does(place: Shed) -> None:
    attempt = place.run(["sleep", "1"], **container())
    assert 900 <= ended(attempt)["runtime_ms"] <= 5000
    quick = place.run(["true"], **container())
    assert ended(quick)["runtime_ms"] < ended(attempt)["runtime_ms"]


def test_a_stop_is_heard_and_one_who_ignores_it_is_killed(place: Shed) -> None:
    code = "trap 'echo heard; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    polite = place.launch(["sh", "-c", code], **container())
    wait_for(lambda: "ready" in polite.text())
    polite.order = {"kind": "pause"}
    wait_for(lambda: polite.finished)
    assert "heard" in polite.text()
    assert ended(polite)["stopped_by"] == "pause"
    rude = place.launch(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 7.125; done"],
        grace_s=0.5, **container(),
    )  # fmt: skip
    wait_for(lambda: "ready" in rude.text())
    rude.order = {"kind": "cancel"}
    wait_for(lambda: rude.finished)
    assert ended(rude)["stopped_by"] == "cancel"
    assert marked("7.125") == []


def test_a_killed_runner_leaves_no_container(place: Shed, containers: Engine) -> None:
    attempt = place.launch(["sleep", "61.5"], **container())
    wait_for(lambda: attempt.started)
    assert containers.containers(attempt.id)
    kill(int(place.handles[attempt.id]["pid"]))
    assert place.executor.stop(attempt.id, place.handles[attempt.id])
    assert marked("61.5") == []
    assert containers.containers(attempt.id) == []


def test_a_stale_lease_ends_the_container(place: Shed, containers: Engine) -> None:
    attempt = place.launch(["sleep", "62.5"], **container())
    wait_for(lambda: attempt.heartbeats and attempt.started)
    attempt.stale = True
    wait_for(lambda: place.gone(attempt))
    assert attempt.finished is None
    assert marked("62.5") == []
    assert containers.containers(attempt.id) == []


def test_an_image_that_is_not_here(place: Shed) -> None:
    attempt = place.run(["true"], **container("localhost/none:1"))
    assert ended(attempt)["cause"] == "environment"
    assert "localhost/none:1 is not on this machine" in ended(attempt)["message"]
    never = place.run(["true"], **container("127.0.0.1:9/x/y:1", pull="never"))
    assert "never pulls" in ended(never)["message"]


def test_a_registry_that_does_not_answer(place: Shed) -> None:
    attempt = place.run(["true"], **container("127.0.0.1:9/x/y:1"))
    done = ended(attempt)
    assert done["cause"] == "start_failed"
    assert "could not be pulled from 127.0.0.1:9" in done["message"]
    assert "refused" in done["message"]


def test_a_digest_is_kept_after_the_tag_moved(place: Shed, containers: Engine) -> None:
    name = "localhost/trainshed-test/moves"
    containers.build(f"{name}:1", marker="old")
    old = containers.digest(f"{name}:1")
    containers.build(f"{name}:1", marker="new")
    assert containers.digest(f"{name}:1") != old
    pinned = place.run(["cat", "/marker"], **container(f"{name}:1", digest=old))
    assert (pinned.text(), ended(pinned)["image_digest"]) == ("old", old)
    fresh = place.run(["cat", "/marker"], **container(f"{name}:1"))
    assert fresh.text() == "new"


def test_who_knows_a_digest_still_has_to_ask_the_registry(place: Shed, containers: Engine) -> None:
    """What one account pulled with its login lies here; its digest opens it to nobody else."""
    name = "127.0.0.1:9/theirs/private"
    containers.build(f"{name}:1", marker="secret")
    digest = containers.digest(f"{name}:1")
    asked = container(f"{name}:1", digest=digest, pull="always")
    attempt = place.run(["cat", "/marker"], **asked)
    assert attempt.text() == ""
    assert "could not be pulled" in ended(attempt)["message"]
    pinned = place.run(["cat", "/marker"], **container(f"{name}:1", digest=digest))
    assert pinned.text() == "secret"


def test_no_engine(place: Shed) -> None:
    attempt = place.run(["true"], **container(engine="docker"))
    done = ended(attempt)
    assert done["cause"] in ("environment", "start_failed")
    assert "docker" in done["message"]


def test_a_volume_is_shown_at_exactly_its_path(place: Shed) -> None:
    code = 'cat /checkpoints/net/*; echo 2 > /checkpoints/net/b; echo "$CHECKPOINT_DIR" "$@"'
    data = b"1\n"
    digest = {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest(), "size_bytes": 2}
    file = {"path": "a", "sha256": hashlib.sha256(data).hexdigest(), **digest}
    attempt = place.run(
        ["sh", "-c", code, "sh"], volume="/checkpoints/net", resume_flag="--resume-from",
        resume={"artifact_id": "art_1", "step": 1, "files": [file]}, resume_bytes=[data],
        **container(),
    )  # fmt: skip
    assert ended(attempt)["exit_code"] == 0, (ended(attempt), attempt.text("stderr"))
    words = "1\n/checkpoints/net --resume-from /checkpoints/net\n"
    assert attempt.text() == words
    kept = {a["kind"]: [f["path"] for f in a["files"]] for a in attempt.artifacts}
    assert kept == {"checkpoint": ["a", "b"]}
    hidden = place.run(["sh", "-c", "echo $CHECKPOINT_DIR"], volume="/usr/bin", **container())
    assert hidden.text() == "/trainshed/checkpoints\n"


@pytest.fixture
def dockerd(containers: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """podman behind docker's API: the docker command line is real, the daemon is a stand-in."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command line")
    socket = containers.folder / "docker.sock"
    command = containers.command("system", "service", "--time=0", f"unix://{socket}")
    service = subprocess.Popen(command, env=containers.environ)
    try:
        wait_for(socket.exists)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
        yield
    finally:
        service.terminate()
        service.wait(20)


def test_docker_runs_stops_and_removes(dockerd: None, place: Shed, containers: Engine) -> None:
    asked = container(engine="docker")
    attempt = place.run(["sh", "-c", "id -u; touch $TRAINSHED_OUTPUT_DIR/x; exit 3"], **asked)
    done = ended(attempt)
    assert (done["cause"], done["exit_code"]) == ("exited", 3), (done, attempt.text("stderr"))
    assert done["image_digest"] == containers.digest(SHELL)
    assert [f["path"] for a in attempt.artifacts for f in a["files"]] == ["x"]
    long = place.launch(["sh", "-c", "trap '' TERM; sleep 64.5"], grace_s=0.5, **asked)
    wait_for(lambda: long.started)
    long.order = {"kind": "cancel"}
    wait_for(lambda: long.finished)
    assert ended(long)["stopped_by"] == "cancel"
    orphan = place.launch(["sleep", "65.5"], **asked)
    wait_for(lambda: orphan.started)
    kill(int(place.handles[orphan.id]["pid"]))
    assert place.executor.stop(orphan.id, place.handles[orphan.id])
    wait_for(lambda: not marked("64.5") + marked("65.5"))
    assert containers.containers("trainshed-att") == []


def test_values_that_an_env_file_cannot_hold(place: Shed) -> None:
    attempt = place.run(["true"], env={"KEY": "a\nB=c"}, **container())
    done = ended(attempt)
    assert done["cause"] == "environment"
    assert "KEY" in done["message"]
    assert "B=c" not in done["message"]


def test_secrets_are_in_no_argument_list(place: Shed) -> None:
    attempt = place.launch(["sleep", "63.5"], env={"TOKEN": "canary-4711"}, **container())
    wait_for(lambda: attempt.started)
    assert marked("63.5")
    assert marked("canary-4711") == []
    assert not list(Path(place.folder(attempt)).glob("container.env"))
    attempt.order = {"kind": "cancel"}
    wait_for(lambda: attempt.finished)
