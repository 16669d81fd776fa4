"""When a server is open on loopback, and when its settings close it (D15)."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from tests.support.server import running


@pytest.mark.parametrize(
    "name", ["TRAINSHED_TRUSTED_PROXIES", "TRAINSHED_PUBLIC_URL", "TRAINSHED_ENABLE_API_AUTH"]
)
def test_open_mode_is_off_behind_a_proxy_that_settings_tell_of(tmp_path: Path, name: str) -> None:
    """Many proxies forward as 127.0.0.1 and name nobody: all the world would look local."""
    values = {"TRUSTED_PROXIES": '["127.0.0.1"]', "PUBLIC_URL": "https://shed.example.org"}
    with running(tmp_path / "data", **{name: values.get(name[10:], "1")}) as server:
        answer = httpx2.get(f"{server.url}/jobs")
        assert (answer.status_code, answer.json()["error_type"]) == (401, "AuthenticationError")
        known = httpx2.get(
            f"{server.url}/jobs", headers={"X-API-Key": server.credentials["api_key"]}
        )
        assert known.status_code == 200
