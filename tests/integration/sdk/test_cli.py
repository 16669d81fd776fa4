"""The ``trainshed`` command: what it prints, what it exits with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.integration.sdk.stub import KEY, Stub, problem

from trainshed_client.cli import main as cli_main
from trainshed_client.cli.main import COMMANDS, cli

BIN = Path(sys.executable).parent / "trainshed"
Run = Callable[..., Result]


@pytest.fixture
def run(logged_in: Stub) -> Run:
    def call(*args: str, **more: Any) -> Result:
        return CliRunner().invoke(cli, args, **more)

    return call


def test_every_command_has_help() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
    assert "Exit codes: 0 ok" in CliRunner().invoke(cli, ["--help"]).output


READS = [
    ["whoami"], ["jobs", "list"], ["jobs", "show", "JOB"], ["jobs", "metrics", "JOB"],
    ["jobs", "metrics", "JOB", "loss"], ["jobs", "events", "JOB"], ["jobs", "artifacts", "JOB"],
    ["jobs", "receipt", "JOB"], ["jobs", "logs", "JOB"], ["jobs", "plan", "--", "python", "x"],
    ["uploads", "list"], ["keys", "list"], ["keys", "create", "ci"], ["credits"],
    ["credits", "--entries"], ["accounts", "list"], ["accounts", "grant", "acc_1111", "1.5"],
    ["users", "list"], ["offers"], ["jobs", "retry", "JOB"], ["jobs", "priority", "JOB", "3"],
    ["jobs", "checkpoint", "JOB"], ["jobs", "delete", "JOB", "--yes"],
    ["keys", "revoke", "key_1111", "-y"], ["keys", "rotate", "11111111", "--yes"],
    ["uploads", "delete", "upl_" + "0" * 31 + "1", "--yes"],
]  # fmt: skip


@pytest.mark.parametrize("args", READS, ids=lambda a: "-".join(a))
def test_json_is_json_and_text_is_not_empty(run: Run, logged_in: Stub, args: list[str]) -> None:
    job = logged_in.job(state="SUCCEEDED", reason="completed")["id"]
    named = [job if a == "JOB" else a for a in args]
    split = named.index("--") if "--" in named else len(named)
    result = run(*named[:split], "--json", *named[split:])
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    logged_in.job(int(job[4:], 16), state="SUCCEEDED")
    text = run(*named)
    assert text.exit_code == 0, text.output
    assert text.output.strip()
    assert "\x1b" not in text.stdout


def test_a_list_fits_a_narrow_terminal(logged_in: Stub) -> None:
    """One line for each job; the start of the id that is shown is one that commands take."""
    ids = [
        f"job_{n}{'0' * 31}"
        for n in range(1, 4)
        if logged_in.job(
            int(f"{n}{'0' * 31}", 16),
            state="FAILED",
            reason="start_failed",
            created_at=datetime.now(UTC).isoformat(),
            command=["python", "train.py", "--epochs", "1000", "--data", "a/long/path"],
        )
    ]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    done = subprocess.Popen([str(BIN), "jobs", "list"], stdout=theirs, env=env)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # a terminal that was closed at its other end
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert done.wait(20) == 0
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines() if line]
    assert len(lines) == 1 + len(ids)
    assert all(len(line) <= 80 for line in lines)
    assert {line.split()[0] for line in lines[1:]} == {one[:12] for one in ids}
    assert all("start_failed" in line for line in lines[1:])


def test_server_text_is_defused(run: Run, logged_in: Stub) -> None:
    job = logged_in.job(name="\x1b]0;t\x07[red]x\x1b[2J", state="FAILED", message="a\x1b[31mb")[
        "id"
    ]
    for args in (["list"], ["show", job], ["logs", job]):
        text = run("jobs", *args).output
        assert "\x1b" not in text
        assert "\x07" not in text
    assert "[red]x" in run("jobs", "list").output
    assert "red tail" in run("jobs", "logs", job).output


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(400, "invalid_input", "cpus is wrong"), 2),
        (problem(401, "not_authenticated"), 3),
        (problem(404, "not_found"), 4),
        (problem(402, "payment_required", needed=2), 5),
        (problem(409, "illegal_transition"), 1),
        (problem(403, "not_allowed"), 1),
    ],
    ids=lambda v: str(v) if isinstance(v, int) else "",
)
def test_exit_codes(run: Run, logged_in: Stub, answer: Any, code: int) -> None:
    logged_in.refuse = answer
    result = run("jobs", "cancel", "job_" + "1" * 32)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "req_1" in result.stderr


def test_unreachable_is_six(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("trainshed_client.backoff.Backoff.wait_s", lambda *_: None)
    result = CliRunner().invoke(cli, ["whoami"])
    assert result.exit_code == 6
    assert "trainshed up" in result.stderr


def test_usage_is_two(run: Run) -> None:
    for args in (["jbos"], ["jobs", "show"], ["jobs", "show", "job_1"], ["run", "--gpu", ":", "x"],
                 ["run", "--memory", "lots", "x"], ["run", "-e", "=x", "x"],
                 ["--profile", "no", "whoami"],
                 ["jobs", "logs", "-f", "--tail", "2", "job_12345678"]):  # fmt: skip
        assert run(*args).exit_code == 2, args
    assert "Did you mean 'jobs'?" in run("jbos").output


def test_a_prefix_is_enough(run: Run, logged_in: Stub) -> None:
    for number in (0xABCDEF01 << 96, (0xABCDEF02 << 96) + 1, (0xABCDEF02 << 96) + 2):
        logged_in.job(number)
    assert json.loads(run("jobs", "show", "job_abcdef01", "--json").stdout)["id"].startswith(
        "job_abcdef01"
    )
    assert run("jobs", "show", "abcdef01", "--json").exit_code == 0
    several = run("jobs", "show", "abcdef02", "--json")
    assert several.exit_code == 2
    assert "could be" in several.output
    assert run("jobs", "show", "job_ffffffff").exit_code == 4


@pytest.mark.parametrize(
    "args",
    [
        ("keys", "rotate", "-y"), ("keys", "revoke", "-y"), ("users", "update"),
        ("accounts", "update"), ("uploads", "delete", "-y"),
    ],
)  # fmt: skip
def test_every_id_may_be_its_start(run: Run, args: tuple[str, ...]) -> None:
    assert run("uploads", "add", __file__).exit_code == 0
    kind = {"keys": "key", "users": "usr", "accounts": "acc", "uploads": "upl"}[args[0]]
    start = "0" * 31 + "1" if kind == "upl" else "1" * 8
    assert run(*args, f"{kind}_{start}"[:20]).exit_code == 0
    assert run(*args, start).exit_code == 0
    assert run(*args, f"{kind}_f00d").exit_code == 4
    assert run(*args, f"{kind}_1").exit_code == 2


def test_questions_need_an_answer(run: Run, logged_in: Stub) -> None:
    job = logged_in.job(state="FAILED")["id"]
    result = run("jobs", "delete", job)
    assert result.exit_code == 2
    assert "--yes" in result.output
    assert job in logged_in.jobs


def test_login_makes_a_key_and_logout_revokes_it(stub: Stub) -> None:
    runner = CliRunner()
    wrong = runner.invoke(
        cli, ["login", stub.url, "-u", "ada", "--password-stdin"], input="wrong\n"
    )
    assert wrong.exit_code == 3
    done = runner.invoke(cli, ["login", stub.url, "-u", "ada", "--password-stdin"], input="right\n")
    assert done.exit_code == 0, done.output
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "trainshed" / "config.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY in path.read_text()
    assert KEY not in done.output
    assert "ada of lab" in runner.invoke(cli, ["whoami"]).output
    out = runner.invoke(cli, ["logout"])
    assert "revoked" in out.output
    assert stub.requests[-1].method == "DELETE"
    assert KEY not in path.read_text()
    assert runner.invoke(cli, ["logout"]).exit_code == 2


def test_login_with_a_key_from_stdin(stub: Stub) -> None:
    done = CliRunner().invoke(
        cli, ["login", stub.url, "--api-key", "-", "--json"], input=KEY + "\n"
    )
    assert json.loads(done.stdout)["me"]["user"]["username"] == "ada"


def test_run_uploads_submits_and_streams(run: Run, logged_in: Stub, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print()")
    (tmp_path / "junk.log").write_text("x")
    (tmp_path / ".trainshedignore").write_text("*.log")
    logged_in.cut_streams = 1
    result = run(
        "run", "--gpu", "A100:2", "--cpus", "4", "--memory", "2G", "--max-runtime", "90m",
        "--retries", "3", "-e", "A=b=c", "--upload", str(tmp_path), "--name", "n",
        "--", "python", "train.py", "--lr", "0.1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == "Epoch 1\nred tail\n"
    assert "1 file, 7 B" in result.stderr
    (job,) = logged_in.jobs.values()
    assert job["command"] == ["python", "train.py", "--lr", "0.1"]
    assert job["resources"] == {
        "gpu_type": "A100", "gpus": 2, "cpus": 4, "memory_bytes": 2 * 1024**3,
    }  # fmt: skip
    assert (job["max_runtime_s"], job["retry"]) == (5400, {"max_retries": 3})
    assert (job["env"], job["name"]) == ({"A": "b=c"}, "n")
    assert [i["path"] for i in job["inputs"]] == ["train.py"]


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_run_ends_as_the_job_ended(run: Run, logged_in: Stub, state: str, code: int) -> None:
    logged_in.outcome = (state, "because")
    result = run("run", "--no-upload", "--json", "--", "x")
    assert result.exit_code == code
    assert json.loads(result.stdout)["state"] == state
    assert "Epoch 1" in result.stderr
    follow = run("jobs", "logs", "-f", next(iter(logged_in.jobs)), "--json")
    assert follow.exit_code == code
    lines = [json.loads(line) for line in follow.stdout.splitlines()]
    assert lines[-1] == {"state": state}
    assert run("jobs", "watch", next(iter(logged_in.jobs))).exit_code == code


def test_run_detached_prints_the_id(run: Run, logged_in: Stub) -> None:
    result = run("run", "--no-upload", "--detach", "x")
    assert result.stdout.strip() in logged_in.jobs


def test_without_a_terminal_a_password_is_not_asked_for(stub: Stub) -> None:
    for command in (["login", stub.url, "-u", "ada"], ["users", "set-password", "ada"]):
        done = subprocess.run(
            [str(BIN), *command], input="secret\n", capture_output=True, text=True,
            start_new_session=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert "--password-stdin" in done.stderr
        assert "Warning" not in done.stderr


def test_ctrl_c_detaches(logged_in: Stub) -> None:
    logged_in.outcome = ("RUNNING", "")
    command = [str(BIN), "run", "--no-upload", "--", "x"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "Epoch 1\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    (job,) = logged_in.jobs
    assert process.returncode == 130
    assert f"trainshed jobs cancel {job}" in errors
    assert "Traceback" not in errors
    assert logged_in.jobs[job]["state"] == "RUNNING"


def test_download(run: Run, logged_in: Stub, tmp_path: Path) -> None:
    job = logged_in.job()["id"]
    result = run("jobs", "download", job, "model.pt", "--to", str(tmp_path), "--json")
    assert Path(json.loads(result.stdout)["path"]).read_bytes() == b"weights"


def test_uploads_add_and_dry_run(run: Run, logged_in: Stub, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    dry = json.loads(run("uploads", "add", str(tmp_path), "--dry-run", "--json").stdout)
    assert dry == [{"path": "a", "size_bytes": 1}]
    assert not logged_in.uploads
    sent = json.loads(run("uploads", "add", str(tmp_path), "--path", "data", "--json").stdout)
    assert sent[0]["path"] == "data/a"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    assert "_TRAINSHED_COMPLETE" in run("completion", shell).output


class Point:
    """An installed entry point."""

    value = "other:commands"

    def __init__(self, found: Any) -> None:
        self.found = found

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return lambda: self.found


def plug(monkeypatch: pytest.MonkeyPatch, *found: Any) -> None:
    points = [Point(one) for one in found]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)


def test_commands_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(
        monkeypatch,
        {"serve": ("trainshed_client.cli.auth:whoami", "Serve."), "bad": ("no:x", "Bad.")},
    )
    text = CliRunner().invoke(cli, ["--help"]).output
    assert "Serve." in text
    assert "Bad." in text
    assert "Say who is calling" in CliRunner().invoke(cli, ["serve", "--help"]).output


def test_a_taken_name_is_refused_and_a_broken_package_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plug(monkeypatch, {"jobs": ("x:y", "Mine.")}, ImportError("no such module"))
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    assert "Mine." not in result.stdout
    assert "'jobs', which is taken" in result.stderr
    assert "no such module" in result.stderr


def test_the_servers_commands_are_there() -> None:
    assert {"up", "demo", "doctor"} <= set(cli_main.plugins())


def best_of(command: list[str], n: int = 5) -> float:
    """Return the least CPU time of ``n`` runs: what else runs here takes no part in it."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def once() -> float:
        before = spent()
        subprocess.run(command, check=True, capture_output=True)
        return spent() - before

    return min(once() for _ in range(n))


def test_help_is_fast_next_to_click_alone() -> None:
    assert best_of([str(BIN), "--help"]) < 6 * best_of([sys.executable, "-c", "import click"])


def test_help_loads_no_http_and_no_rich() -> None:
    code = (
        "import sys; from click.testing import CliRunner;"
        "from trainshed_client.cli.main import cli;"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0;"
        "print(sorted({'httpx2', 'rich', 'asyncio', 'ssl', 'trainshed.domain'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
