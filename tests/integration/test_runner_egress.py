"""A job with the network ``egress`` reaches the Internet and nothing near (SECURITY 37)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORLD = "tests.integration.egress_world"
ABSENT = [p for p in ("bwrap", "slirp4netns", "ip", "unshare", "nsenter") if not shutil.which(p)]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    if os.getuid() != 0:
        pytest.skip("only root makes network namespaces beside each other")
    if ABSENT:
        pytest.skip(f"not installed: {', '.join(ABSENT)} (apt-get)")
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-m", WORLD],
        cwd=ROOT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_everything_is_there_to_be_reached(seen: dict[str, Any]) -> None:
    reached = seen["host"]["reach"]
    assert reached["203.0.113.1"] == reached["10.77.0.9"] == "internet"
    near = ("203.0.113.2", "10.77.0.1", "169.254.169.254", "127.0.0.1")
    assert {reached[address] for address in near} == {"host"}


def test_egress_reaches_the_internet_and_its_names_only(seen: dict[str, Any]) -> None:
    job = seen["egress"]
    assert job["started"]["network"] == "egress"
    assert job["reach"].pop("203.0.113.1") == "internet"
    assert job["resolved"] == "203.0.113.1"
    assert set(job["reach"].values()) <= {"OSError", "ConnectionRefusedError", "TimeoutError"}
    assert job["ipv6"] == ""
    assert "Network: egress" in job["system"]


def test_what_others_have_mounted_stays(seen: dict[str, Any]) -> None:
    assert seen["still_mounted"] is True


def test_the_job_cannot_change_its_routes(seen: dict[str, Any]) -> None:
    assert all(code != 0 for code in seen["egress"]["routes"])


def test_its_own_api_is_reached_by_its_token_alone(seen: dict[str, Any]) -> None:
    job = seen["egress"]
    assert job["own"] == f"GET /v1/jobs/me {seen['api'].removeprefix('http://')}"
    assert (job["no_token"], job["wrong"], job["elsewhere"]) == (401, 401, 404)


def test_none_reaches_nothing(seen: dict[str, Any]) -> None:
    job = seen["none"]
    assert job["started"]["network"] == "none"
    assert set(job["reach"].values()) <= {"OSError", "ConnectionRefusedError"}
    assert "refused" in job["own"]


def test_the_way_out_ends_with_its_job(seen: dict[str, Any]) -> None:
    assert seen["left"] == []
    assert seen["cancelled_after_s"] < 30
