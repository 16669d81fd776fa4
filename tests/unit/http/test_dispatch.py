"""Whose a literal address is: one table."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from trainshed.dialects.middleman.parameters import claims
from trainshed.domain.errors import NotFound
from trainshed.http.dispatch import Dispatch
from trainshed.http.guards import Alias, Door

KEYED = Door("keyed", "/one/api/v1", (), aliases=(Alias("/api/v1", claims=claims),))
REST = Door("rest", "/two/api/v1", (), aliases=(Alias("/api/v1"),))
WIDE = Door("wide", "/three", (), aliases=(Alias("/api"), Alias("/jobs", "/jobs")))


def sent(doors: list[Door], path: str, **headers: str) -> str:
    scope: dict[str, Any] = {"path": path, "raw_path": path.encode()}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    Dispatch(doors).rewrite(scope, Headers(given))
    assert scope["raw_path"].startswith(scope["path"].encode()[:1])
    return str(scope["path"])


@pytest.mark.parametrize(
    ("headers", "door"),
    [
        ({"x_api_key": "ts_anything"}, "/one"),
        ({"user_agent": "middleman-python/0.1.0", "authorization": "Bearer ts_x"}, "/one"),
        ({"authorization": "Bearer mdlm_x"}, "/one"),
        ({"authorization": "bearer   mdlm_x"}, "/one"),
        ({"authorization": "Bearer ts_x"}, "/two"),
        ({"user_agent": "python-httpx/0.28"}, "/two"),
        ({"authorization": "Basic mdlm_x"}, "/two"),
        ({}, "/two"),
    ],
)
def test_what_a_request_carries_says_whose_it_is(headers: dict[str, str], door: str) -> None:
    for order in ([KEYED, REST], [REST, KEYED], [WIDE, REST, KEYED]):
        assert sent(order, "/api/v1/jobs", **headers) == f"{door}/api/v1/jobs"
        assert sent(order, "/api/v1", **headers) == f"{door}/api/v1"


def test_the_longest_path_counts_and_others_stay() -> None:
    doors = [WIDE, KEYED]
    assert sent(doors, "/api/v1/jobs", x_api_key="k") == "/one/api/v1/jobs"
    assert sent(doors, "/api/v1/jobs") == "/three/v1/jobs"
    assert sent(doors, "/api/users") == "/three/users"
    assert sent(doors, "/jobs/7") == "/three/jobs/7"
    for path in ("/v1/jobs", "/", "/apis", "/jobs2", "/one/api/v1/jobs", "//api/v1"):
        assert sent(doors, path, x_api_key="k") == path


def test_nobodys_request_is_told_the_prefixes() -> None:
    with pytest.raises(NotFound, match=r"/one/api/v1") as found:
        sent([KEYED], "/api/v1/jobs")
    assert found.value.extra["prefixes"] == ["/one/api/v1"]


def test_colliding_aliases_stop_the_server() -> None:
    with pytest.raises(ValueError, match="collide"):
        Dispatch([REST, Door("more", "/four", (), aliases=(Alias("/api/v1"),))])
    with pytest.raises(ValueError, match="hide"):
        Dispatch([REST, Door("more", "/four", (), aliases=(Alias("/two"),))])
