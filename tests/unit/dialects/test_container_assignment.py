"""What a runner is told of a job's image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.store.make import attempt, job

from trainshed.dialects.runner.translate import to_assignment, to_digest
from trainshed.domain.job import Environment
from trainshed.ports.deps import Policy
from trainshed.usecases.attempts import Work

DIGEST = "sha256:" + "b" * 64


def container(image: str | None, policy: Policy, **fields: Any) -> dict[str, Any]:
    one = job(1)
    if image is not None:
        one = replace(one, spec=replace(one.spec, environment=Environment("image", image)))
    facts = {"n_people": 1} | fields
    work = Work(attempt(one), one, None, (), None, 1000, **facts)
    return to_assignment(work, {}, "tsj_1", "/usr/bin/python3", policy, "http://x").container


def test_nothing_for_a_job_without_an_image() -> None:
    assert container(None, Policy()) == {}


@pytest.mark.parametrize(
    ("setting", "n_people", "pull"),
    [
        ("missing", 1, "missing"),
        ("missing", 2, "always"),
        ("never", 2, "never"),
        ("always", 1, "always"),
    ],
)
def test_with_several_people_the_registry_is_asked(setting: str, n_people: int, pull: str) -> None:
    found = container("ghcr.io/a/b", Policy(image_pull=setting), n_people=n_people)
    assert found["pull"] == pull
    assert found["reference"] == "ghcr.io/a/b:latest"
    assert found["credentials"] is None


def test_a_later_attempt_gets_the_digest_of_the_first() -> None:
    policy = Policy(container_engine="docker")
    found = container("ghcr.io/a/b:1", policy, image_digest=DIGEST)
    assert (found["digest"], found["name"], found["engine"]) == (DIGEST, "ghcr.io/a/b", "docker")
    assert container(f"ghcr.io/a/b@{DIGEST}", policy)["digest"] == DIGEST
    assert container("ghcr.io/a/b:1", policy)["digest"] == ""
    # Only what an earlier Attempt ran needs no further look at the registry.
    again = container("ghcr.io/a/b:1", policy, image_digest=DIGEST, n_people=2)
    assert again["pull"] == "missing"
    assert container(f"ghcr.io/a/b@{DIGEST}", policy, n_people=2)["pull"] == "always"


@pytest.mark.parametrize("said", [None, "", 5, "sha256:1", "sha256:" + "B" * 64, DIGEST + "\n"])
def test_what_is_no_digest_is_dropped(said: object) -> None:
    assert to_digest({"image_digest": said}) is None
    assert to_digest({"image_digest": DIGEST}) == DIGEST
