"""Ids: what is formatted parses, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import NotFound
from trainshed.domain.ids import PREFIXES, format_id, parse_id

kinds = st.sampled_from(sorted(PREFIXES))
hexes = st.integers(0, 2**128 - 1).map(lambda n: f"{n:032x}")


def test_prefixes_are_distinct_and_three_letters() -> None:
    assert len(set(PREFIXES.values())) == len(PREFIXES)
    assert all(len(p) == 3 and p.isascii() and p.islower() for p in PREFIXES.values())


@given(kinds, hexes)
def test_round_trip(kind: str, hex32: str) -> None:
    made = format_id(kind, hex32)
    assert parse_id(kind, made) == made


@given(kinds, kinds, hexes)
def test_the_kind_is_part_of_the_id(kind: str, other: str, hex32: str) -> None:
    if kind != other:
        with pytest.raises(NotFound):
            parse_id(kind, format_id(other, hex32))


@given(kinds, hexes, st.sampled_from(["{}\n", "\n{}", " {}", "{} ", "{}0", "{}\x00", "{}/"]))
def test_nothing_may_surround_it(kind: str, hex32: str, around: str) -> None:
    with pytest.raises(NotFound):
        parse_id(kind, around.format(format_id(kind, hex32)))


@given(kinds, st.text(max_size=50))
def test_other_text_names_nothing(kind: str, text: str) -> None:
    with pytest.raises(NotFound):
        parse_id(kind, text)
    with pytest.raises(NotFound):
        parse_id(kind, PREFIXES[kind] + "_" + text.upper().ljust(32, "G"))
