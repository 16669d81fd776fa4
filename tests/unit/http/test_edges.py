"""Small pure pieces: proxies, hosts, guards, cursors, text, ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from trainshed.bootstrap.secrets import FileSecrets
from trainshed.dialects.native.translate import to_series, whole
from trainshed.domain.errors import InvalidInput
from trainshed.http import guards, paging
from trainshed.http.errors import RangeNotSatisfiable
from trainshed.http.files import _range
from trainshed.http.guards import Door, Route, check_doors
from trainshed.http.proxy import networks, origin_of
from trainshed.http.shell import hostname
from trainshed.ports.streams import Bucket
from trainshed.ports.views import SeriesView


def origin(peer: str | None, trusted: list[str], **headers: str) -> Any:
    scope = {"client": (peer, 1) if peer else None, "scheme": "http"}
    named = Headers({k.replace("_", "-"): v for k, v in headers.items()})
    return origin_of(scope, named, networks(trusted))


def test_forwarded_for_is_read_from_the_right() -> None:
    trusted = ["10.0.0.0/8"]
    via = "6.6.6.6, 203.0.113.7, 10.0.0.2"
    assert origin("10.0.0.1", trusted, x_forwarded_for=via).address == "203.0.113.7"
    assert origin("9.9.9.9", trusted, x_forwarded_for=via).address == "9.9.9.9"
    assert origin("10.0.0.1", trusted, x_forwarded_for="garbage").address == "10.0.0.1"
    assert origin("10.0.0.1", trusted, x_forwarded_for="10.0.0.3").address == "10.0.0.3"
    assert origin("10.0.0.1", [], x_forwarded_for=via).address == "10.0.0.1"
    assert origin(None, trusted, x_forwarded_for=via).address == "unix"
    odd = origin("10.0.0.1", trusted, x_forwarded_proto="ftp", host="a")
    assert (odd.scheme, odd.host) == ("http", "a")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LocalHost.:80", "localhost"), ("[::1]:80", "::1"), ("[0:0::1]", "::1"), ("a:b", ""),
        ("u@localhost", ""), ("localhost/x", ""), ("localhost?x", ""), ("", ""), ("[::1", ""),
    ],
)  # fmt: skip
def test_hostnames(text: str, name: str) -> None:
    assert hostname(text) == name


async def nothing(request: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (Route("GET", "/x", nothing, None), "declares no guard"),
        (Route("GET", "/x", nothing, guards.PUBLIC), "closed list"),
        (Route("GET", "/x", nothing, guards.RUNNER, raw=True), "RUNNER"),
    ],
)
def test_a_wrong_route_stops_the_server(route: Route, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_doors([Door("test", "/test", [route])])
    fine = Route("GET", "/x", nothing, guards.READ)
    with pytest.raises(ValueError, match="twice"):
        check_doors([Door("a", "/t", [fine]), Door("b", "/t", [fine])])
    check_doors([Door("r", "/runner/v1", [Route("GET", "/x", nothing, guards.RUNNER, raw=True)])])


def test_cursors_are_signed_for_their_scope(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path / "s")
    cursor = paging.encode_seq(secrets, "a", 7)
    assert paging.decode_seq(secrets, "a", cursor) == 7
    assert paging.decode_after(secrets, "a", None) is None
    for scope, text in (
        ("b", cursor),
        ("a", cursor[:-1]),
        ("a", "x" + cursor),
        ("a", "é"),
        ("a", ""),
    ):
        with pytest.raises(InvalidInput):
            paging.decode_seq(secrets, scope, text)


@given(st.text(), st.integers(min_value=1, max_value=8))
def test_text_cut_anywhere_comes_out_whole(text: str, size: int) -> None:
    data, out, at = text.encode("utf-8", "replace"), "", 0
    while at < len(data):
        kept = whole(data[at : at + max(size, 4)])
        assert kept
        out += kept.decode("utf-8", "replace")
        at += len(kept)
    assert out == data.decode("utf-8", "replace")


@given(st.binary(max_size=64))
def test_any_bytes_get_on(data: bytes) -> None:
    kept = whole(data)
    assert data.startswith(kept)
    assert len(kept) > 0 or not data
    assert len(data) - len(whole(data, rest=False)) <= 3


@given(st.integers(1, 1000), st.integers(0, 1200), st.integers(0, 1200))
def test_ranges_stay_inside(size: int, first: int, last: int) -> None:
    for text in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            found = _range(text, size)
        except RangeNotSatisfiable:
            continue
        if found is not None:
            start, length = found
            assert 0 <= start < size
            assert 0 < length <= size - start


def test_buckets_keep_what_is_no_number_and_the_extremes() -> None:
    nan = float("nan")
    made = [Bucket(n, n, float(n), float(n) + 0.5, 0.0, 5) for n in range(7)]
    made.append(Bucket(7, 7, nan, nan, nan, 2, n_nan=2))
    shown = to_series(SeriesView("k", buckets=tuple(made)))
    assert len(shown.points) <= 9
    values = [p[2] for p in shown.points]
    assert 0.0 in values
    assert 6.5 in values
    assert [6, 6, None, "nan"] in shown.points
