"""``/docs`` and ``/redoc`` in a real browser that reaches no host but this server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.server import Server

FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1300,1400",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=15000",
    "--enable-logging=stderr",
)  # fmt: skip


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_a_page_renders_with_the_network_blocked(page: str, server: Server, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    flags = [*FLAGS, f"--user-data-dir={tmp_path}", *(["--no-sandbox"] * (os.geteuid() == 0))]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", f"{server.url}/{page}"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for text in ("Orchestrator", ["/jobs/", "job_id}/retry"][0], "/stats"):
        assert text in done.stdout
    # Made by the scripts, not by the server: the page itself is an empty frame.
    assert len(done.stdout) > 20_000
    assert "Failed to load" not in done.stdout
    assert "Refused to execute" not in done.stderr
    assert "Uncaught" not in done.stderr
