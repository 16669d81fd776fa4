"""A path a user sends is a plain relative name; every known traversal is refused (D8, D14)."""

from __future__ import annotations

import posixpath
import re
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainshed.domain.artifact import MAX_PART, MAX_PATH, check_path
from trainshed.domain.errors import InvalidInput

CORPUS = [
    "", ".", "..", "/", "//", "/etc/passwd", "//etc/passwd", "../etc/passwd",
    "../../../../etc/shadow",
    "a/../b", "a/..", "a/./b", "./a", "a//b", "a/", "a/../../b", "..\\..\\win.ini", "a\\b",
    "\\\\host\\c$",
    "C:/x", "c:x", "Z:\\x", "file:///etc/passwd", "http://x/y", "s3://b/k", "a\x00.txt", "a\nb",
    "a\rb",
    "a\tb", "\x1b[2J", "a\x7fb", "a\x85b", "a\x9bb", "....//....//etc", "..;/etc/..", "..%2fetc",
    "..%2Fetc", "%2e%2e/etc", "%2E%2E%2Fetc", "..%5cetc", "..%255cetc", "%252e%252e%252fetc",
    "%25252e%25252e%25252fetc", "a%00.png", "a%2500.png", "..%c0%af..", "%c0%ae%c0%ae/etc",
    "..%C1%9c..", "\ud800", "a/\udcff", "x" * (MAX_PART + 1), "é" * 128, "/".join(["d" * 200] * 6),
    "../" * 50 + "etc", "a/b/../../../c", "~/../x", "/proc/self/environ", "..", ".../..",
]  # fmt: skip

FINE = [
    "a", "model.pt", "a/b/c.txt", ".hidden", "...", "..a", "a..", "a..b/c", "-rf", "~",
    "sp ace/ü.txt", "100%", "50%_done", "日本語/モデル", "x" * MAX_PART, "a;b", "$(x)", "ab:c",
    "checkpoint-1.tar.gz",
]  # fmt: skip


@pytest.mark.parametrize("path", CORPUS)
def test_the_corpus_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_path(path, "inputs.path")
    assert caught.value.extra["field"] == "inputs.path"


@pytest.mark.parametrize("path", FINE)
def test_plain_names_pass(path: str) -> None:
    assert check_path(path) == path


def _times(path: str, n: int) -> str:
    for _ in range(n):
        path = urllib.parse.quote(path, safe="")
    return path


@given(
    st.lists(st.sampled_from(["..", ".", "a", "", "etc", "..."]), min_size=2, max_size=6),
    st.integers(1, 3),
    st.booleans(),
)
def test_an_encoded_separator_is_refused_at_any_depth(
    parts: list[str], n: int, upper: bool
) -> None:
    path = _times("/".join(parts), n)
    with pytest.raises(InvalidInput):
        check_path(path if upper else path.lower())


ALPHABET = st.sampled_from(
    [
        *"ab./\\~: %",
        "..",
        "../",
        "%2e",
        "%2F",
        "%252e",
        "\x00",
        "\n",
        "\x9f",
        "é",
        "\u202e",
        "\ud800",
    ]
)


@given(st.lists(ALPHABET, max_size=20).map("".join) | st.text(max_size=40))
@example("a\u2028b")
@example("%aa")
@example("%e0%80%ae/x")
def test_whatever_passes_stays_inside(path: str) -> None:
    try:
        assert check_path(path) == path
    except InvalidInput:
        return
    decoded = path
    for _ in range(4):
        full = posixpath.normpath(posixpath.join("/root/ws", decoded))
        assert full == "/root/ws/" + decoded
        assert full.startswith("/root/ws/")
        # As the most lenient reader would: a file may be called 50%de, which is no UTF-8.
        decoded = urllib.parse.unquote(decoded, encoding="latin-1")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\\]", path)
    assert len(path.encode()) <= MAX_PATH
    assert all(0 < len(part.encode()) <= MAX_PART for part in path.split("/"))
