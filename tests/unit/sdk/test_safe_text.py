"""Nothing that a stranger writes can steer the terminal (SECURITY 21)."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed_client.cli.safe_text import Defuser, defuse, has_open_colour, plain

SGR = re.compile(r"\x1b\[[0-9;:]*m")
ALLOWED_CONTROLS = {"\n", "\t"}
# Text that is mostly pieces of escape sequences, whole and broken.
PIECES = st.sampled_from(
    ["\x1b", "\x1b[", "\x1b]", "[", "]", "0;", "31", "m", "H", "\x07", "\x1b\\", "\\", "\x9b",
     "\x9c", "8;;http://x", "\r", "\n", "\t", "\x1bP", "\x1b_", "\x08", "a", "é", "\u202e",
     "?1049h", "\x00", "\x1b[31m", "\x1b[0m", "\x1b(B", ";" * 70, "\ud800"]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)


@given(HOSTILE)
def test_only_colours_are_left(text: str) -> None:
    safe = SGR.sub("", defuse(text))
    assert not [c for c in safe if (ord(c) < 32 or 0x7F <= ord(c) < 0xA0) and c not in "\n\t"]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff]", safe)


@given(HOSTILE)
def test_without_colour_no_escape_is_left(text: str) -> None:
    assert "\x1b" not in defuse(text, colour=False)
    assert not set("\n\t\x1b") & set(plain(text))


@given(HOSTILE, st.lists(st.integers(0, 200), max_size=8))
def test_pieces_give_what_the_whole_gives(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    defuser = Defuser()
    pieces = [defuser.feed(text[a:b]) for a, b in pairwise(edges)]
    assert "".join(pieces) + defuser.flush() == defuse(text)


@given(HOSTILE)
def test_what_is_safe_stays_as_it_is(text: str) -> None:
    once = defuse(text)
    assert defuse(once) == once


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_plain_text_is_untouched(text: str) -> None:
    assert defuse(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[38;5;9mx", "\x1b[38;5;9mx"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1b]52;c;aGk=\x07b", "ab"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("a\x1b[?1049hb", "ab"),
        ("a\x1b[>4;2mb", "ab"),
        ("a\x1b]0;no end\nb", "a\nb"),
        ("a\x1bPq#0\x1b\\b", "ab"),
        ("a\x1bcb", "ab"),
        ("a\x9b31mb", "a31mb"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("pass\b\b\b\bfail", "passfail"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\x1b\x1b[5A[31mx", "[31mx"),
        ("\x1b", ""),
    ],
)
def test_known_sequences(text: str, safe: str) -> None:
    assert defuse(text) == safe


def test_no_memory_is_kept_of_an_endless_title() -> None:
    defuser = Defuser()
    assert defuser.feed("\x1b]0;") == ""
    for _ in range(100):
        assert defuser.feed("x" * 1000) == ""
    assert len(defuser._held) < 100
    assert defuser.feed("\x07after") == "after"


def test_open_colours_are_seen() -> None:
    assert has_open_colour("\x1b[31mred")
    assert not has_open_colour("\x1b[31mred\x1b[0m")
    assert not has_open_colour("red")
