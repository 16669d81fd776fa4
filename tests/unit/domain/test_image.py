"""Image names: what they mean, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import InvalidInput
from trainshed.domain.image import check_registry, parse_image

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "reference", "registry"),
    [
        ("python", "docker.io/library/python:latest", "docker.io"),
        ("team/app:2", "docker.io/team/app:2", "docker.io"),
        ("ghcr.io/team/app", "ghcr.io/team/app:latest", "ghcr.io"),
        ("localhost/app:1", "localhost/app:1", "localhost"),
        ("localhost:5000/a/b/c:v1.2_x-3", "localhost:5000/a/b/c:v1.2_x-3", "localhost:5000"),
        (f"GHCR.io/app:1@{DIGEST}", f"ghcr.io/app@{DIGEST}", "ghcr.io"),
        (f"python@{DIGEST}", f"docker.io/library/python@{DIGEST}", "docker.io"),
        ("index.docker.io/library/python:3", "docker.io/library/python:3", "docker.io"),
    ],
)
def test_names(text: str, reference: str, registry: str) -> None:
    one = parse_image(text)
    assert (one.reference, one.registry) == (reference, registry)
    assert one.local == (registry == "localhost")


@given(st.text(max_size=60) | st.from_regex(r"[-a-zA-Z0-9./:@_ ]{1,60}", fullmatch=True))
def test_what_passes_can_never_be_an_option_a_path_or_a_transport(text: str) -> None:
    try:
        one = parse_image(text)
    except InvalidInput:
        return
    assert one.reference[0].isalnum()
    assert one.reference.isascii()
    assert not set(one.reference) & set(" \t\r\n\0,=$;|&<>'\"\\")
    assert "://" not in one.reference
    assert ".." not in one.reference.split("/")
    assert parse_image(one.reference) == one


@pytest.mark.parametrize(
    "text", ["", "-x", "a b", "a/b", "http://x", "x:", "x:123456", "x..y", "é"]
)
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_registry(text)
