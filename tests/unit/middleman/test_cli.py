"""The ``middleman`` command: what it sends, prints and returns."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from tests.unit.middleman.conftest import AT, BASE, JOB_ID, Stub, job, refusal
from tests.unit.middleman.test_client import HOOK, KEY, NEW

from middleman import settings
from middleman.cli.main import COMMANDS, cli

BALANCE = {"balance": 10_000, "reserved": 800, "available": 9_200, "expires_at": None}
HOSTILE = "\x1b]0;owned\x07[/INST] [bold]x[/bold] \x1b[2Jend"


def run(*args: str, key: str | None = "mdlm_secret", **given: Any) -> Result:
    env = {"MIDDLEMAN_API_URL": BASE, "MIDDLEMAN_API_KEY": key}
    return CliRunner().invoke(cli, [*args], env=env, catch_exceptions=False, **given)


def ok(*args: str, **given: Any) -> str:
    done = run(*args, **given)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_command_has_help() -> None:
    for name in COMMANDS:
        assert "Usage: " in ok(name, "--help")


def test_a_near_name_is_offered() -> None:
    done = run("job")
    assert done.exit_code == 2
    assert "Did you mean 'jobs'?" in done.output


def test_auth_checks_and_stores_the_key(stub: Stub, own_home: Path) -> None:
    stub.on("GET /billing/balance", BALANCE)
    before = os.umask(0)
    try:
        text = ok("auth", "mdlm_new", key=None)
    finally:
        os.umask(before)
    assert text.startswith("API key configured successfully!\n")
    assert "9,200" in text
    path = own_home / ".middleman" / "config"
    assert path.read_text() == "mdlm_new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stub.on("GET /jobs", {"data": [], "total": 0})
    ok("jobs", "list", key=None)
    assert stub.requests[-1].headers["x-api-key"] == "mdlm_new"
    ok("jobs", "list", key="mdlm_env")
    assert stub.requests[-1].headers["x-api-key"] == "mdlm_env"


def test_auth_reads_standard_input(stub: Stub) -> None:
    stub.on("GET /billing/balance", BALANCE)
    ok("auth", "--json", key=None, input="mdlm_piped\n")
    assert settings.stored_key() == "mdlm_piped"
    assert run("auth", key=None, input="\n").exit_code == 2


def test_auth_stores_no_bad_key(stub: Stub) -> None:
    stub.on("GET /billing/balance", refusal(401, "unauthorized", "Unknown key."))
    done = run("auth", "mdlm_bad", key=None)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Unknown key." in done.stderr
    assert settings.stored_key() is None


def test_the_file_of_the_old_client_is_read_and_closed(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_home / ".middleman" / "config"
    path.parent.mkdir()
    path.write_text("mdlm_old\n")
    path.chmod(0o644)
    assert settings.stored_key() == "mdlm_old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "could be read by others" in capsys.readouterr().err


def test_without_a_key() -> None:
    done = run("whoami", key=None)
    assert done.exit_code == 1
    assert "middleman auth" in done.stderr


def test_whoami(stub: Stub) -> None:
    stub.on("GET /users/me", {"email": "a@b.c", "name": "Ann", "tier": "pro"})
    stub.on("GET /billing/balance", BALANCE)
    for word in ("Ann", "a@b.c", "pro", "9,200", BASE):
        assert word in ok("whoami")
    assert json.loads(ok("whoami", "--json"))["available"] == 9_200


def test_the_address_is_an_option(stub: Stub) -> None:
    stub.on("GET /billing/balance", BALANCE)
    ok("--api-url", "http://elsewhere.test/api/v1/", "billing", "balance")
    assert stub.requests[-1].url.host == "elsewhere.test"


def test_jobs_list(stub: Stub) -> None:
    stub.on("GET /jobs", {"data": [job(), job(name=None, status="completed", actual_cost=1234)],
                          "total": 40})  # fmt: skip
    done = run("jobs", "list", "-s", "running", "-l", "2")
    for word in (JOB_ID[:8], "digits", "running", "a100×2", "epoch 3/10", "0.25", "1,234", "800"):
        assert word in done.stdout
    assert JOB_ID not in done.stdout
    assert "2 of 40 jobs" in done.stderr
    assert dict(stub.requests[0].url.params)["status"] == "running"
    page = json.loads(ok("jobs", "list", "--json"))
    assert (page["total"], page["data"][0]["id"]) == (40, JOB_ID)


def test_jobs_status(stub: Stub) -> None:
    stub.on(f"GET /jobs/{JOB_ID[:8]}", job(error_message="it broke"))
    text = ok("jobs", "status", JOB_ID[:8])
    for word in (JOB_ID, "it broke", "train.py", "WANDB_API_KEY", "8 h"):
        assert word in text
    assert json.loads(ok("jobs", "status", JOB_ID[:8], "--json")) == job(error_message="it broke")


def test_an_ended_job_reserves_nothing(stub: Stub) -> None:
    stub.on(f"GET /jobs/{JOB_ID[:8]}", job())
    assert "credits reserved" in ok("jobs", "status", JOB_ID[:8])
    stub.on(f"GET /jobs/{JOB_ID[:8]}", job(status="completed", completed_at="2026-01-02T03:04:05Z"))
    assert "credits reserved" not in ok("jobs", "status", JOB_ID[:8])


def test_words_of_strangers_do_nothing(stub: Stub) -> None:
    stub.on("GET /jobs", {"data": [job(name=HOSTILE)], "total": 1})
    stub.on("GET /jobs/j", job(name=HOSTILE, error_message=HOSTILE, status="failed"))
    stub.on("GET /jobs/j/logs", [
        {"id": "1", "timestamp": AT, "level": "[/x]", "message": HOSTILE},
    ])  # fmt: skip
    for args in (("list",), ("status", "j"), ("logs", "j"), ("watch", "j", "-i", "0.1")):
        done = run("jobs", *args)
        assert done.exit_code in (0, 3)
        assert "\x1b" not in done.output
        assert "\x07" not in done.output
        if args[0] != "watch":
            assert "[/INST] [bold]x[/bold] end" in done.stdout


def test_create_leaves_paths_of_the_server_alone(stub: Stub) -> None:
    stub.on("POST /jobs", NEW)
    text = ok("jobs", "create", "/scripts/train.py", "/data/dataset", "--name", "My Training Run",
              "--gpu", "a100", "--gpu-count", "2", "--framework", "pytorch", "--max-hours", "8",
              "-e", "A=1=2", "-e", "B=")  # fmt: skip
    assert JOB_ID in text
    assert "800 credits" in text
    (body,) = stub.bodies("POST /jobs")
    assert body == {
        "script_path": "/scripts/train.py", "input_data_path": "/data/dataset",
        "name": "My Training Run", "gpu_type": "a100", "gpu_count": 2, "framework": "pytorch",
        "max_runtime_hours": 8, "checkpoint_frequency": 10,
        "environment_variables": {"A": "1=2", "B": ""},
    }  # fmt: skip


def upload_slot(request: httpx2.Request) -> httpx2.Response:
    name = json.loads(request.content)["filename"]
    slot = {"upload_url": f"http://files.test/put/{name}", "blob_path": f"up/{name}"}
    return httpx2.Response(201, json={**slot, "expires_at": AT})


def test_create_uploads_what_is_here(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("print(1)")
    Path("needs.txt").write_text("numpy")
    Path("data").mkdir()
    Path("data/a.csv").write_text("1")
    stub.on("POST /data/upload-url", upload_slot).on("POST /jobs", NEW)
    for name in ("train.py", "needs.txt", "data.zip"):
        stub.on(f"PUT /put/{name}", httpx2.Response(201))
    done = run("jobs", "create", "./train.py", "data", "-r", "needs.txt", "--json")
    assert json.loads(done.stdout)["id"] == JOB_ID
    assert done.stderr == ""
    (body,) = stub.bodies("POST /jobs")
    assert (body["script_path"], body["input_data_path"], body["requirements_file"]) == (
        "up/train.py", "up/data.zip", "up/needs.txt",
    )  # fmt: skip
    ok("jobs", "create", "train.py", "data", "--remote")
    assert stub.bodies("POST /jobs")[1]["script_path"] == "train.py"


@pytest.mark.parametrize(
    "args",
    [
        ("./gone.py", "data"),
        ("train.py", "../gone"),
        (".", "data"),
        ("a.py", "b", "-e", "NOVALUE"),
        ("a.py", "b", "-e", "=x"),
        ("a.py", "b", "-c", "0"),
        ("a.py",),
    ],
)
def test_create_refuses_what_cannot_be_meant(stub: Stub, args: tuple[str, ...]) -> None:
    assert run("jobs", "create", *args).exit_code == 2
    assert stub.requests == []


def test_create_without_credits(stub: Stub) -> None:
    stub.on("POST /jobs", refusal(402, "insufficient_credits", "800 needed, 5 available."))
    done = run("jobs", "create", "/a.py", "/b")
    assert done.exit_code == 1
    assert "API Error (402): 800 needed, 5 available." in done.stderr
    assert "billing balance" in done.stderr


def test_control_asks_or_is_told(stub: Stub) -> None:
    stub.on("POST /jobs/j/cancel", {"status": "cancelled", "refunded_credits": 1799})
    assert run("jobs", "cancel", "j").exit_code == 2
    assert stub.requests == []
    assert "1,799 credits given back" in ok("jobs", "cancel", "j", "-y")
    stub.on("POST /jobs/j/pause", job(status="paused"))
    stub.on("POST /jobs/j/resume", refusal(409, "invalid_state", "It is running."))
    assert "paused" in ok("jobs", "pause", "j")
    done = run("jobs", "resume", "j")
    assert (done.exit_code, "API Error (409): It is running." in done.stderr) == (1, True)


@pytest.mark.parametrize(("end", "code"), [("completed", 0), ("failed", 3), ("cancelled", 3)])
def test_watch_ends_with_the_job(stub: Stub, end: str, code: int) -> None:
    last = job(status=end, error_message="why" if code else None, actual_cost=7)
    stub.on("GET /jobs/j", job(status="queued", current_epoch=0, total_epochs=None,
                               current_loss=None), job(), job(), last)  # fmt: skip
    done = run("jobs", "watch", "j", "-i", "0.1")
    assert done.exit_code == code
    lines = [" ".join(text.split()) for text in done.stdout.splitlines()]
    assert lines == [
        "queued", "running epoch 3/10 loss 0.25", f"{end} epoch 3/10 loss 0.25",
    ]  # fmt: skip
    assert "credits used: 7" in done.stderr
    assert ("why" in done.stderr) == bool(code)
    stub.on("GET /jobs/j", job(), last)
    shown = run("jobs", "watch", "j", "-i", "0.1", "--json")
    assert [json.loads(text)["status"] for text in shown.stdout.splitlines()] == ["running", end]


def test_logs(stub: Stub) -> None:
    lines = [
        {"id": str(n), "timestamp": AT, "level": "INFO", "message": f"epoch {n}"} for n in (1, 2)
    ]
    stub.on("GET /jobs/j/logs", lines, {"logs": lines[1:]}, lines)
    assert ok("jobs", "logs", "j") == (
        "2026-01-02T03:04:05 INFO    epoch 1\n2026-01-02T03:04:05 INFO    epoch 2\n"
    )
    assert "epoch 1" not in ok("jobs", "logs", "j", "-n", "1")
    assert json.loads(ok("jobs", "logs", "j", "--json")) == lines
    assert run("jobs", "logs", "j", "-f", "-n", "1").exit_code == 2
    stub.on("GET /jobs/j", job(status="completed"))
    assert ok("jobs", "logs", "j", "--follow").count("epoch") == 2
    stub.on("GET /jobs/j", job(status="failed"))
    done = run("jobs", "logs", "j", "-f", "--json")
    assert done.exit_code == 3
    assert [json.loads(text)["id"] for text in done.stdout.splitlines()] == ["1", "2"]


def test_billing(stub: Stub) -> None:
    stub.on("GET /billing/balance", BALANCE)
    stub.on("GET /billing/packages", {
        "packages": [{"id": "p", "name": "Starter", "credits": 1000, "price_cents": 1050}]
    })  # fmt: skip
    row = {"created_at": AT, "type": "usage", "amount": -5, "description": HOSTILE}
    stub.on("GET /billing/transactions", {"data": [row], "total": 9})
    assert "9,200" in ok("billing", "balance")
    assert json.loads(ok("billing", "balance", "--json")) == BALANCE
    assert "$10.50" in ok("billing", "packages")
    done = run("billing", "history", "-l", "1")
    assert "2026-01-02" in done.stdout
    assert "-5" in done.stdout
    assert "[/INST]" in done.stdout
    assert "1 of 9" in done.stderr


def test_data(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    stub.on("POST /data/upload-url", upload_slot).on("PUT /put/a.csv", httpx2.Response(200))
    assert ok("data", "upload", str(tmp_path / "a.csv"), "-j", "j") == "up/a.csv\n"
    link = {"download_url": "http://files.test/down", "expires_at": AT, "size_bytes": 5}
    stub.on("POST /data/download-url", link).on("GET /down", httpx2.Response(200, content=b"12345"))
    assert ok("data", "download-url", "j", "-p", "m.pt") == "http://files.test/down\n"
    assert ok("data", "download", "j", "m.pt", "-o", str(tmp_path)) == f"{tmp_path / 'm.pt'}\n"
    assert (tmp_path / "m.pt").read_bytes() == b"12345"
    assert run("data", "upload", str(tmp_path / "gone")).exit_code == 2
    done = run("data", "download", "j", "m.pt", "-o", str(tmp_path / "no" / "m.pt"))
    assert (done.exit_code, "no folder" in done.stderr) == (1, True)


def test_keys(stub: Stub) -> None:
    stub.on("GET /api-keys", [KEY]).on("POST /api-keys", {**KEY, "key": "mdlm_full"})
    stub.on("DELETE /api-keys/mdlm_ab...", {"revoked": True})
    assert "mdlm_ab..." in ok("keys", "list")
    assert ok("keys", "create", "ci", "-e", "90") == "mdlm_full\n"
    assert stub.bodies("POST /api-keys")[0]["expires_in_days"] == 90
    assert json.loads(ok("keys", "create", "ci", "--json"))["key"] == "mdlm_full"
    assert run("keys", "revoke", "mdlm_ab...").exit_code == 2
    assert "revoked" in ok("keys", "revoke", "mdlm_ab...", "--yes")


def test_webhooks(stub: Stub) -> None:
    stub.on("GET /webhooks", [HOOK]).on("POST /webhooks", {**HOOK, "secret": "whsec"})
    stub.on("DELETE /webhooks/w1", httpx2.Response(204))
    stub.on("POST /webhooks/w1/test", {"id": "d1", "status": "delivered"})
    stub.on("GET /webhooks/w1/deliveries", {"data": [{"id": "d1", "x": {}}], "total": 1})
    stub.on("GET /webhooks/events", {"events": ["job.queued", {"name": "credits.low"}]})
    assert "https://x.test/" in ok("webhooks", "list")
    assert ok("webhooks", "create", "mine", "https://x.test/") == "whsec\n"
    assert stub.bodies("POST /webhooks")[0]["events"] == ["*"]
    assert "delivered" in ok("webhooks", "test", "w1")
    assert "d1" in ok("webhooks", "deliveries", "w1")
    assert ok("webhooks", "events") == "job.queued\ncredits.low\n"
    assert "deleted w1" in ok("webhooks", "delete", "w1", "-y")


def test_version_and_completion() -> None:
    assert ok("version") == "middleman 1.0.0\n"
    assert "_MIDDLEMAN_COMPLETE" in ok("completion", "bash")


def test_a_server_that_is_away(stub: Stub) -> None:
    stub.on("GET /billing/balance", httpx2.ConnectError("refused"))
    done = run("billing", "balance")
    assert done.exit_code == 1
    assert "Is the server up?" in done.stderr


def test_another_api_at_the_address(stub: Stub) -> None:
    stub.on("GET /jobs", {"jobs": [], "total": 0})
    done = run("jobs", "list")
    assert done.exit_code == 1
    assert "It ends with /api/v1" in done.stderr


def test_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom middleman.cli.main import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'httpx2', 'rich', 'asyncio', 'middleman.client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
