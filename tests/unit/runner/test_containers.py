"""The engines' arguments, and what is made of what engines say; nothing is started."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from trainshed.runner import containers, images
from trainshed.runner.images import find_engine, last_line
from trainshed.runner.launch import StartFailed
from trainshed.runner.sandboxes import container, docker, podman
from trainshed.runner.sandboxes.container import Crate, Engine, Mount

PODMAN = Engine("podman", "/usr/bin/podman", options=("--runtime=runc",))
DOCKER = Engine("docker", "/usr/bin/docker", options=docker.options("/w/engine"))
CRATE = Crate(
    name="trainshed-att_1",
    image="ab" * 32,
    mounts=(Mount("/d/work", "/trainshed/work"), Mount("/d/lib", "/trainshed/lib", True)),
    env_file="/w/container.env",
    pid_file="/w/container.pid",
    user="5000:5000",
    limits={"memory_bytes": 64, "millicpus": 1500, "pids": 20},
    ulimits={"core": (0, 0), "nofile": (1024, 4096)},
    labels={"trainshed.attempt": "att_1"},
)
HOSTILE = ["--privileged", "-v/:/host", "--", "$(id)", ""]


@pytest.mark.parametrize(("engine", "run"), [(PODMAN, podman.run), (DOCKER, docker.run)])
def test_every_option_stands_before_the_image(engine: Engine, run: object) -> None:
    args = run(engine, CRATE, HOSTILE)  # type: ignore[operator]
    cut = args.index(CRATE.image)
    assert args[cut + 1 :] == HOSTILE
    options = args[:cut]
    assert not set(options) & set(HOSTILE)
    assert all(one.startswith("--") for one in options[1:] if one != "run")
    assert {
        "--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--network=none",
        "--entrypoint=", "--pull=never", "--user=5000:5000", "--memory=64b", "--cpus=1.5",
        "--pids-limit=20", "--ulimit=nofile=1024:4096", "--label=trainshed.attempt=att_1",
        "--init", "--name=trainshed-att_1",
    } <= set(options)  # fmt: skip


def test_what_differs() -> None:
    asked = replace(CRATE, devices=("GPU-1", "GPU-2"), network="host", init=False)
    by_podman, by_docker = podman.run(PODMAN, asked, ["x"]), docker.run(DOCKER, asked, ["x"])
    assert "--device=nvidia.com/gpu=GPU-1" in by_podman
    assert '--gpus="device=GPU-1,GPU-2"' in by_docker
    assert {"--rm", "--pidfile=/w/container.pid"} <= set(by_podman)
    assert "--rm" not in by_docker
    for args in (by_podman, by_docker):
        assert "--network=host" in args
        assert "--init" not in args
    inside = podman.run(PODMAN, replace(CRATE, network="ns:/proc/7/fd/9", dns="192.0.2.3"), ["x"])
    assert {"--network=ns:/proc/7/fd/9", "--dns=192.0.2.3"} <= set(inside)
    rootless = podman.run(PODMAN, replace(CRATE, rootless=True), ["x"])
    assert "--userns=keep-id" in rootless
    assert not [one for one in rootless if one.startswith("--user=")]


def test_a_path_with_commas_and_quotes_is_one_field() -> None:
    odd = '/d/a,readonly="x",b'
    text = container.mount(Mount(odd, "/trainshed/work")).removeprefix("--mount=")
    assert next(csv.reader([text])) == ["type=bind", f"source={odd}", "target=/trainshed/work"]


def test_logins_are_files_and_never_arguments() -> None:
    assert podman.pull(PODMAN, "x/y:1", "/w/engine")[-4:] == [
        "--quiet", "--authfile=/w/engine/config.json", "--", "x/y:1",
    ]  # fmt: skip
    assert docker.pull(DOCKER, "x/y:1")[:2] == ["/usr/bin/docker", "--config=/w/engine"]


def test_removal() -> None:
    assert container.remove(PODMAN, "n")[-1] == "n"
    assert "--ignore" in container.remove(PODMAN, "n")
    assert "--ignore" not in container.remove(DOCKER, "n")


def test_an_env_file_holds_single_lines() -> None:
    assert container.env_lines({"A": "1 # 2", "B": '"x"='}) == 'A=1 # 2\nB="x"=\n'
    for value in ("a\nPATH=/evil", "a\r", "x" * 70_000):
        with pytest.raises(ValueError, match=r"^B$"):
            container.env_lines({"A": "1", "B": value})


def test_runc_only_where_it_is_needed() -> None:
    assert podman.options(True, True, True) == ("--cgroup-manager=cgroupfs", "--runtime=runc")
    assert podman.options(True, False, True) == ("--runtime=runc",)
    assert podman.options(False, False, True) == ()


@pytest.mark.parametrize("asked", ["auto", "podman", "docker"])
def test_no_engine_names_what_to_install(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SYSTEM_PATH", "/nowhere")
    with pytest.raises(StartFailed, match=r"apt-get install podman") as error:
        find_engine(asked, {}, "/w/engine", "x/y:1")
    assert error.value.cause == "environment"


def test_the_engine_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SYSTEM_PATH", str(tmp_path))
    for name, found in (("docker", "docker"), ("podman", "podman")):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert find_engine("auto", {}, "/w/engine", "x").kind == found
    assert find_engine("docker", {"HOME": "/h"}, "/w", "x").env["HOME"] == "/h"


def test_what_an_engine_said_is_short_plain_and_without_secrets() -> None:
    said = (
        'first\nError: Get "https://bob:hunter2@r.io/v2": no\x1b[31m s3cret ' + "x" * 900 + "\n\n"
    )
    found = last_line(said, ["s3cret"])
    assert "hunter2" not in found
    assert "s3cret" not in found
    assert found.isprintable()
    assert len(found) < 320
    assert last_line("", []) == "it said nothing"


@pytest.mark.parametrize(
    ("why", "cause", "words"),
    [
        ("unauthorized: authentication required", "environment", "store a login"),
        ("manifest unknown", "environment", "There is no image"),
        ("dial tcp: lookup x: no such host", "start_failed", "could not be pulled"),
        ("i/o timeout", "start_failed", "could not be pulled"),
    ],
)
def test_pull_errors(why: str, cause: str, words: str) -> None:
    error = images._explained("r.io/x/y:1", why)
    assert error.cause == cause
    assert words in str(error)


@pytest.mark.parametrize("ours", ["/user.slice/shed.service", "/user.slice/shed.service/inner"])
def test_a_container_without_a_group_of_its_own_is_not_killed_by_ours(
    monkeypatch: pytest.MonkeyPatch, ours: str
) -> None:
    """Rootless engines may make none: to kill by it would end the server with the job."""
    theirs = "/user.slice/shed.service"
    monkeypatch.setattr(
        containers, "read_text", lambda p: f"0::{ours if 'self' in p else theirs}\n"
    )
    assert containers.group_of(7, {"memory_bytes": 1 << 40}).unified is None
    theirs += "/libpod-1"
    found = containers.group_of(7, {})
    assert found.unified is not None
    assert found.unified.endswith(theirs)
