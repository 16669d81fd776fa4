"""The runner's rule for file names is the server's: one odd name must not lose a whole set."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from trainshed.domain.artifact import check_path
from trainshed.domain.errors import InvalidInput
from trainshed.runner.collect import keepable, listing

NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=300).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=4,
).map("/".join)
ODD = ["a\tb", "a\\b", "C:x", "%2e%2e", "a%2Fb", "x://y", "\x85", "\udc80", "n" * 256, "é" * 130]


def taken(path: str) -> bool:
    try:
        check_path(path)
    except InvalidInput:
        return False
    return True


@given(NAMES)
def test_both_rules_agree(path: str) -> None:
    assert keepable(path) == taken(path)


@pytest.mark.parametrize("path", [*ODD, "model.bin", "sub/ü.txt", "a b", "100%"])
def test_both_rules_agree_on_known_cases(path: str) -> None:
    assert keepable(path) == taken(path)


def test_an_odd_name_is_left_out_and_the_rest_kept(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("x")
    (tmp_path / "run\tone.log").write_text("y")
    found = listing(str(tmp_path))
    assert [entry.path for entry in found.entries] == ["model.bin"]
    assert found.skipped == ["run\tone.log"]
