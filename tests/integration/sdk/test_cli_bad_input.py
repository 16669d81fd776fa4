"""What a newcomer mistypes, and files that cannot be: an exit code and a line, no traceback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.integration.sdk.stub import Stub

from trainshed_client.cli.follow import _show_state
from trainshed_client.cli.main import cli
from trainshed_client.errors import TrainshedError


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--no-upload", "--cpus", "nan", "--", "x"],
        ["run", "--no-upload", "--cpus", "inf", "--", "x"],
        ["run", "--no-upload", "--name", "bad\udcff", "--", "x"],
        ["accounts", "create", "lab", "--weight", "nan"],
        ["jobs", "list", "--after", "0001-01-01"],
        ["login", "http://127.0.0.1:9", "--api-key", "cl\u00e9"],
        ["login", "http://127.0.0.1:9", "--api-key", "a\x1b[31m"],
        ["login", "http://127.0.0.1:9", "--api-key", "k", "--as", "b\udcff"],
    ],
    ids=lambda a: "-".join(a[-2:]).encode("ascii", "replace").decode(),
)
def test_bad_values_are_usage(
    logged_in: Stub, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC-14")  # east of here the year 1 begins in the year 0
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2, result.output
    assert "rror: " in result.stderr
    assert logged_in.jobs == {}


def test_a_key_that_cannot_be_sent_is_not_shown(
    logged_in: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_API_KEY", "ts_secret\nx")
    result = CliRunner().invoke(cli, ["whoami"])
    assert result.exit_code == 2
    assert "ts_secret" not in result.output


def test_zero_memory_is_sent_not_dropped(logged_in: Stub) -> None:
    result = CliRunner().invoke(cli, ["run", "--no-upload", "-d", "--memory", "0", "--", "x"])
    assert result.exit_code == 0, result.output
    (job,) = logged_in.jobs.values()
    assert job["resources"] == {"memory_bytes": 0}


def test_a_place_that_cannot_be_written_is_an_error(logged_in: Stub, tmp_path: Path) -> None:
    job = logged_in.job()["id"]
    target = tmp_path / ("x" * 300)
    result = CliRunner().invoke(cli, ["jobs", "download", job, "model.pt", "--to", str(target)])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


@pytest.mark.anyio
async def test_the_state_line_ends_when_the_last_event_meets_the_cancel() -> None:
    class Jobs:
        async def get(self, _: str) -> Any:
            raise TrainshedError("away")

    class Client:
        jobs = Jobs()

    changed = asyncio.Event()
    client: Any = Client()
    watcher = asyncio.create_task(_show_state(client, "job", lambda _: None, changed))
    await asyncio.sleep(0.05)
    changed.set()
    await asyncio.sleep(0)  # the wait inside is done, the watcher has not gone on
    watcher.cancel()
    done, _ = await asyncio.wait({watcher}, timeout=0.5)
    late = watcher not in done
    watcher.cancel()
    assert not late
