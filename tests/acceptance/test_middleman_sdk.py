"""Our ``middleman`` SDK and command against a real server: from a key to the downloaded model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.support.server import Server, eventually, running
from tests.support.sink import sinking

from middleman import JobStatus, MiddlemanClient
from middleman.client import ApiError

COMMAND = str(Path(sys.executable).parent / "middleman")
BURST = 300
FULL = os.environ.get("TRAINSHED_SOAK") == "1"
TRAIN = f"""
import hashlib, os, pathlib, pickle, time
import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

data = np.load(pathlib.Path(os.environ["INPUT_DATA_PATH"]) / "digits.npz")
x, y = data["x"] / 16, data["y"]
model = SGDClassifier(loss="log_loss", random_state=0)
print("a template: <s>[INST] [bold]hi[/bold] [/INST]", flush=True)
for epoch in range(1, 7):
    model.partial_fit(x[:1400], y[:1400], classes=range(10))
    loss = log_loss(y[1400:], model.predict_proba(x[1400:]))
    print(f"Epoch {{epoch}}/6, Loss: {{loss:.4f}}", flush=True)
    for n in range({BURST}):
        print(f"burst {{epoch}}.{{n}}")
    time.sleep(float(os.environ["PACE"]))
raw = pickle.dumps(model)
(pathlib.Path(os.environ["OUTPUT_DIR"]) / "model.pkl").write_bytes(raw)
print("accuracy", model.score(x[1400:], y[1400:]))
print("sha256", hashlib.sha256(raw).hexdigest())
"""


class Shell:
    """The installed command, run in a folder and home of its own."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home = home
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MIDDLEMAN", "TRAINSHED"))}
        self.env = {**kept, "HOME": str(home), "MIDDLEMAN_API_URL": f"{server.url}/api/v1"}

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *args], cwd=self.home, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *args: str, code: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [COMMAND, *args], cwd=self.home, env=self.env, input=stdin,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def on_terminal(self, *args: str) -> tuple[int, str]:
        """Run it as a person sees it; return its code and all that came to the screen."""
        ours, theirs = pty.openpty()
        env = {**self.env, "TERM": "xterm-256color", "COLUMNS": "100"}
        process = subprocess.Popen(
            [COMMAND, *args], cwd=self.home, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        seen = b""
        with os.fdopen(ours, "rb", buffering=0) as screen, contextlib.suppress(OSError):
            while piece := screen.read(65536):  # ends with EIO when the process has
                seen += piece
        return process.wait(60), seen.decode()

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json"))


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    """A user with a key of its own in the file, a script and a folder of data."""
    import numpy as np
    from sklearn.datasets import load_digits

    made = Shell(tmp_path, server)
    made("auth", stdin=server.credentials["middleman_api_key"] + "\n")
    key = made("keys", "create", "mine").strip()
    assert "configured successfully" in made("auth", key)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "data").mkdir()
    digits = load_digits()
    np.savez(tmp_path / "data" / "digits.npz", x=digits.data, y=digits.target)
    return made


def reach(server: Server, job_id: str, epoch: int) -> None:
    """Wait for an epoch."""
    with MiddlemanClient(server.credentials["middleman_api_key"], f"{server.url}/api/v1") as client:
        eventually(lambda: client.get_job(job_id).current_epoch >= epoch, 60, f"epoch {epoch}")


def epochs_and_bursts(text: str) -> list[str]:
    return re.findall(r"INFO +(Epoch \d/6|burst \d\.\d+)", text)


EXPECTED = [
    text
    for epoch in range(1, 7)
    for text in (f"Epoch {epoch}/6", *(f"burst {epoch}.{n}" for n in range(BURST)))
]


def test_from_key_to_model(shell: Shell) -> None:
    before = shell.json("billing", "balance")
    made = shell.json(
        "jobs", "create", "./train.py", "./data", "-n", "digits [v1]", "-g", "a100", "-c", "2",
        "--max-hours", "8", "-e", "PACE=0.6",
    )  # fmt: skip
    assert made["reserved_credits"] == 800
    held = shell.json("billing", "balance")["reserved"] - before["reserved"]
    assert held == 800
    short = made["id"][:8]
    follow, watch = (
        shell.start("jobs", "logs", short, "-f"),
        shell.start("jobs", "watch", short, "-i", "0.2"),
    )
    log, errors = follow.communicate(timeout=100)
    watched, ending = watch.communicate(timeout=30)
    assert (follow.returncode, watch.returncode) == (0, 0), (errors, ending)
    assert epochs_and_bursts(log) == EXPECTED
    assert "<s>[INST] [bold]hi[/bold] [/INST]" in log
    assert log == shell("jobs", "logs", short)
    assert re.search(r"running +epoch [1-5]/6 +loss \d", watched)
    assert watched.splitlines()[-1].startswith("completed")

    assert "digits [v1]" in shell("jobs", "list", "-s", "completed")
    shown = shell.json("jobs", "status", short)
    assert (shown["status"], shown["current_epoch"]) == ("completed", 6)
    assert shown["environment_variables"] == {"PACE": "***"}
    place = Path(shell("data", "download", short, "outputs/model.pkl", "-o", "got.pkl").strip())
    digest = hashlib.sha256((shell.home / place).read_bytes()).hexdigest()
    assert f"sha256 {digest}" in log
    assert shell("data", "download", short).strip().endswith(".zip")
    after = shell.json("billing", "balance")
    assert after["reserved"] == before["reserved"]
    assert before["balance"] - after["balance"] == shown["actual_cost"] >= 1
    assert short in shell("billing", "history")
    assert "API Error (409)" in shell("jobs", "cancel", short, "-y", code=1)


def test_a_log_is_followed_over_a_pause(server: Server, shell: Shell) -> None:
    made = shell.json("jobs", "create", "train.py", "data", "-e", "PACE=0.5", "-h", "1")
    follow = shell.start("jobs", "logs", made["id"], "--follow", "--json")
    reach(server, made["id"], 2)
    assert "paused" in shell("jobs", "pause", made["id"])
    assert "resuming" in shell("jobs", "resume", made["id"])
    text, errors = follow.communicate(timeout=100)
    assert follow.returncode == 0, errors
    entries = [json.loads(line) for line in text.splitlines()]
    ids = [entry["id"] for entry in entries]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {entry["id"] for entry in shell.json("jobs", "logs", made["id"])}
    second = [e["message"] for e in entries if e["id"].startswith("2-stdout")]
    shown = [m.partition(",")[0] for m in second if m.startswith(("Epoch", "burst"))]
    assert shown == EXPECTED


def test_a_job_that_fails_is_told(shell: Shell) -> None:
    (shell.home / "bad.py").write_text("raise SystemExit('no such layer: [/INST]')")
    made = shell.json("jobs", "create", "bad.py", "data")
    assert "failed" in shell("jobs", "watch", made["id"], "-i", "0.2", code=3)
    assert "no such layer: [/INST]" in shell("jobs", "logs", made["id"])
    shell("jobs", "logs", made["id"], "--follow", code=3)
    code, screen = shell.on_terminal("jobs", "watch", made["id"])
    assert (code, "failed" in screen, "━" in screen) == (3, True, True)
    code, screen = shell.on_terminal("jobs", "logs", made["id"])
    assert (code, "no such layer: [/INST]" in screen) == (0, True)


def test_the_documented_commands(server: Server, shell: Shell) -> None:
    """Every command that the platform's document shows, in its order."""
    shell("data", "upload", "train.py")
    (shell.home / "data").rename(shell.home / "dataset")
    shell("data", "upload", "dataset")
    shell("whoami")
    made = shell(
        "jobs", "create", "/scripts/train.py", "/data/dataset.zip", "--name", "My Training Run",
        "--gpu", "a100", "--gpu-count", "2", "--framework", "pytorch", "--max-hours", "8",
        "-e", "PACE=2",
    )  # fmt: skip
    found = re.search(r"[0-9a-f-]{36}", made)
    assert found is not None
    job = found[0]
    assert "My Training Run" in shell("jobs", "list")
    reach(server, job, 1)
    assert "epoch" in shell("jobs", "status", job)
    shell("jobs", "pause", job)
    assert "paused" in shell("jobs", "list", "--status", "paused")
    shell("jobs", "resume", job)
    assert "Epoch 1/6" in shell("jobs", "logs", job)
    assert "credits given back" in shell("jobs", "cancel", job, "--yes")
    assert "cancelled" in shell("jobs", "watch", job, code=3)
    for what in ("balance", "packages", "history"):
        shell("billing", what)
    assert "API Error (404)" in shell("data", "download-url", job, "-p", "x.pt", code=1)
    key = shell.json("keys", "create", "CI")
    assert key["key_prefix"] in shell("keys", "list")
    assert "revoked" in shell("keys", "revoke", key["key_prefix"] + "...", "-y")
    assert key["key_prefix"] not in shell("keys", "list")
    assert shell("auth", key["key"], code=1).startswith("error: ")


def test_the_documented_calls(server: Server, shell: Shell) -> None:
    with MiddlemanClient(server.credentials["middleman_api_key"], f"{server.url}/api/v1") as client:
        client.upload_file(shell.home / "train.py")
        data = client.upload_file(shell.home / "data")
        job = client.create_job(
            name="ResNet Training",
            script_path="/scripts/train.py",
            input_data_path=data,
            gpu_type="a100",
            gpu_count=4,
            framework="pytorch",
            max_runtime_hours=24,
            environment_variables={"PACE": "0.1"},
        )
        assert job.reserved_credits == 50 * 4 * 24
        with pytest.raises(TimeoutError):
            client.wait_for_job(job.id, timeout=0)
        *_, last = client.stream_job_status(job.id, 0.1)
        assert last.status is JobStatus.COMPLETED
        started = time.monotonic()
        lines = list(client.follow_logs(job.id))
        assert time.monotonic() - started < 10
        assert lines == client.get_job_logs(job.id)
        assert client.get_job_logs(job.id, tail=3) == lines[-3:]
        place = client.download(job.id, "model.pkl", shell.home)
        assert lines[-1]["message"] == f"sha256 {hashlib.sha256(place.read_bytes()).hexdigest()}"
        with pytest.raises(ApiError, match=r"model\.pkl"):
            client.download(job.id, "nothing.pt", shell.home)
        assert client.get_user().name


def test_webhooks_from_the_command_line(tmp_path: Path) -> None:
    """A pause and its end arrive once each; what was given up is sent again under its own id."""
    allowed = {"TRAINSHED_OUTBOUND_ALLOW": '["127.0.0.0/8"]'}
    with running(tmp_path / "data", **allowed) as server, sinking() as sink:
        shell = Shell(tmp_path, server)
        shell("auth", stdin=server.credentials["middleman_api_key"] + "\n")
        made = shell.json("webhooks", "create", "ci", sink.url("/ok"))
        short = made["id"][:8]
        assert "job.completed" in shell("webhooks", "events").splitlines()
        (tmp_path / "sleepy.py").write_text(
            "import os, time\nos.environ.get('TRAINSHED_RESUME_FROM') or time.sleep(60)\n"
        )
        job = shell.json("jobs", "create", "./sleepy.py", "./sleepy.py", "-g", "a100")["id"]

        def told(name: str) -> list[Any]:
            every = [Webhook(made["secret"]).verify(g.body, g.headers) for g in sink.at("/ok")]
            return [t for t in every if t["type"] == name]

        eventually(lambda: told("job.running"), 60, "it runs")
        shell("jobs", "pause", job)
        eventually(lambda: told("job.paused"), 60, "it is paused")
        assert told("job.resumed") == []
        shell("jobs", "resume", job)
        eventually(lambda: len(told("job.running")) == 2, 60, "it runs again")
        assert (len(told("job.started")), len(told("job.resumed"))) == (1, 1)
        shell("jobs", "cancel", job, "-y")
        (ended,) = eventually(lambda: told("job.cancelled"), 60, "it is cancelled")
        assert ended["data"]["job"]["id"] == job
        assert ended["data"]["job"]["status"] == "cancelled"
        one = sink.at("/ok")[-1].id
        listed = lambda: shell.json("webhooks", "deliveries", short)["data"]  # noqa: E731
        eventually(
            lambda: [d["status"] for d in listed() if d["id"] == one] == ["delivered"], 20, "listed"
        )
        assert shell.json("webhooks", "replay", short, one) == {"replayed": 1}
        eventually(lambda: len([g for g in sink.at("/ok") if g.id == one]) == 2, 20, "again")
        assert shell.json("webhooks", "replay", short) == {"replayed": 0}
        assert shell("webhooks", "regenerate-secret", short, "-y").startswith("whsec_")
        assert "404" in shell("webhooks", "delete", "0" * 8, "-y", code=1)
        shell("webhooks", "delete", short, "-y")
        assert shell.json("webhooks", "list") == []


def test_following_a_flood_loses_and_repeats_nothing(shell: Shell) -> None:
    """A hundred thousand lines (CI: thirty), most of them between two polls."""
    n = 100_000 if FULL else 30_000
    (shell.home / "flood.py").write_text(
        "import sys\n"
        f"for n in range({n}):\n"
        "    print('flood', n)\n"
        "    if n % 10_000 == 0:\n"
        "        print('warned', n, file=sys.stderr, flush=True)\n"
    )
    made = shell.json("jobs", "create", "./flood.py", "./flood.py", "-g", "a100")
    follow = shell.start("jobs", "logs", made["id"], "-f")
    log, errors = follow.communicate(timeout=100)
    assert follow.returncode == 0, errors
    assert re.findall(r"flood (\d+)$", log, re.M) == [str(i) for i in range(n)]
    assert len(re.findall(r"warned \d+$", log, re.M)) == n // 10_000
    again = shell("jobs", "logs", made["id"])
    assert re.findall(r"flood (\d+)$", again, re.M) == [str(i) for i in range(n)]
