"""The conformance suites, over every adapter that the registry finds and over the shipped fakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.deps import make_channels

from trainshed.blobs.local import LocalBlobs
from trainshed.bootstrap import registry
from trainshed.executors.process.executor import ProcessExecutor
from trainshed.testing.conformance import (
    check_blobs,
    check_channel,
    check_executor,
    check_workload,
)
from trainshed.testing.fakes import FakeExecutor, MemoryBlobs


def test_the_process_executor(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "workspaces").mkdir()
    executor = ProcessExecutor(tmp_path)
    try:
        check_executor(executor, f"unix:{tmp_path / 'run' / 'nobody.sock'}")
    finally:
        executor.shut()


def test_every_executor_folder_has_its_test_here() -> None:
    assert set(registry.discover("executors")) == {"process"}


def test_the_fake_executor() -> None:
    check_executor(FakeExecutor(), "unix:/nowhere")


@pytest.mark.parametrize("name", sorted(registry.discover("workloads")))
def test_workloads(name: str) -> None:
    check_workload(name, registry.load(registry.discover("workloads")[name])())


@pytest.mark.parametrize("name", sorted(registry.discover("workloads")))
def test_planning_is_light(name: str) -> None:
    module = registry.discover("workloads")[name].target.partition(":")[0]
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'transformers', 'ray', 'optuna', 'numpy', 'fastapi', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


#: What each channel is given to keep, and a destination at which nobody answers.
CHANNELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "webhook": ({"url": "https://example.org/in"}, {"url": "http://127.0.0.1:9/"}),
    "slack": ({"url": "https://hooks.slack.com/T/B/secret"}, {"url": "http://127.0.0.1:9/"}),
    "email": ({"to": ["a@example.org"]}, {"to": ["b@example.org"]}),
}


@pytest.mark.parametrize("name", sorted(registry.discover("channels")))
def test_channels(name: str) -> None:
    check_channel(name, make_channels()[name], *CHANNELS[name])


def test_local_blobs(tmp_path: Path) -> None:
    check_blobs(LocalBlobs(tmp_path))


def test_memory_blobs() -> None:
    check_blobs(MemoryBlobs())
