"""A runner's life with real processes: streams, metrics, ends, orders, limits."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator

import pytest
from tests.integration.runner_shed import Shed, marked, shed, wait_for
from tests.unit.runner.fake_server import UID

HAS_BWRAP = shutil.which("bwrap") is not None
KINDS = [
    "bare",
    pytest.param(
        "bwrap",
        marks=pytest.mark.skipif(not HAS_BWRAP, reason="bubblewrap is not installed (apt-get)"),
    ),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Shed]:
    with shed() as one:
        yield one


@pytest.mark.parametrize("kind", KINDS)
def test_short_job_costs_two_messages(place: Shed, kind: str) -> None:
    attempt = place.run(["true"], kind)
    assert attempt.calls == ["assignment", "finished"]
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "exited"
    assert attempt.finished["exit_code"] == 0
    told = attempt.finished["started"]
    assert told["age_ms"] >= attempt.finished["runtime_ms"] >= 0
    wait_for(lambda: place.gone(attempt))
    seen = place.executor.poll({attempt.id: place.handles[attempt.id]})[attempt.id]
    assert seen.outcome == attempt.finished


@pytest.mark.parametrize("kind", KINDS)
def test_exit_codes_and_signals(place: Shed, kind: str) -> None:
    failed = place.run(["sh", "-c", "echo why >&2; exit 3"], kind).finished
    killed = place.run(["sh", "-c", "kill -SEGV $$"], kind).finished
    assert failed is not None
    assert killed is not None
    assert (failed["cause"], failed["exit_code"], failed["signal"]) == ("exited", 3, None)
    assert (killed["cause"], killed["exit_code"], killed["signal"]) == ("signalled", None, 11)
    assert "exit code 3" in failed["message"]
    assert "SIGSEGV" in killed["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_working_directory_and_umask(place: Shed, kind: str) -> None:
    attempt = place.run(["sh", "-c", "pwd; umask; echo x > made"], kind)
    work = place.folder(attempt) / "work"
    assert attempt.text().split() == [str(work), "0022"]
    assert (work / "made").read_text() == "x\n"


@pytest.mark.parametrize("kind", KINDS)
def test_home_is_a_folder_of_its_own(place: Shed, kind: str) -> None:
    attempt = place.run(["sh", "-c", "mkdir $HOME/.cache && echo x > $HOME/.cache/made"], kind)
    assert attempt.finished is not None
    assert attempt.finished["exit_code"] == 0, attempt.text("stderr")
    assert (place.folder(attempt) / "tmp" / ".cache" / "made").read_text() == "x\n"


def test_bytes_are_exact(place: Shed) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000); print(end='no newline')"
    attempt = place.run(["python", "-c", code])
    assert bytes(attempt.streams["stdout"]) == bytes(range(256)) * 1000 + b"no newline"


def test_million_lines_arrive_in_order(place: Shed) -> None:
    code = "for i in range(0, 1_000_000, 1000): print(*range(i, i + 1000), sep='\\n')"
    began = time.monotonic()
    attempt = place.run(["python", "-c", code])
    lines = bytes(attempt.streams["stdout"]).split()
    assert [int(line) for line in lines] == list(range(1_000_000))
    print(f"{1_000_000 / (time.monotonic() - began):,.0f} lines/s")


def test_lost_answers_repeat_nothing(place: Shed) -> None:
    code = 'for i in range(30000): print(\'METRIC:{"v": %d, "step": %d}\' % (i, i))'
    attempt = place.launch(["python", "-c", code])
    attempt.lose_answers = 5
    wait_for(lambda: attempt.finished)
    expected = "".join(f'METRIC:{{"v": {i}, "step": {i}}}\n' for i in range(30000))
    assert attempt.text() == expected
    assert attempt.metric("v") == [(i, i) for i in range(30000)]


def test_metrics_of_every_form(place: Shed) -> None:
    code = """
import trainshed_job as job
job.log(step=4, acc=float("nan"), text="no")
print('METRIC:{"step": 2, "loss": NaN, "flag": true, "name": "x"}')
print("METRIC: not json")
print({'loss': 0.5, 'learning_rate': 5e-05, 'epoch': 1.0})
print("Epoch 1/3, Step 10/1000, Loss: 0.523")
"""
    attempt = place.run(["python", "-c", code])
    assert attempt.metric("acc") == [(4, "NaN")]
    assert attempt.metric("loss") == [(2, "NaN"), (3, 0.5), (10, 0.523)]
    assert attempt.metric("epoch") == [(0, 1.0), (10, 1)]
    assert attempt.metric("epoch_total") == [(10, 3)]
    assert {p[0] for p in attempt.points} == {
        "acc", "loss", "learning_rate", "epoch", "epoch_total", "step_total",
    }  # fmt: skip


def test_closed_stream_is_cut_on_disk(place: Shed) -> None:
    code = "import time\nfor i in range(400): print('x' * 20000)\ntime.sleep(0.5)"
    attempt = place.launch(["python", "-c", code])
    attempt.log_limit = 100_000
    wait_for(lambda: attempt.finished)
    assert len(attempt.streams["stdout"]) <= 100_000
    assert (place.folder(attempt) / "stdout.log").stat().st_size < 2_000_000


def test_program_missing_says_what_to_do(place: Shed) -> None:
    for command in (["nosuchprogram"], ["./train.py"], ["/opt/nothing/here"], []):
        attempt = place.run(command)
        assert attempt.finished is not None
        assert attempt.finished["cause"] == "start_failed"
        assert attempt.started is None
    assert "nosuchprogram" in place.run(["nosuchprogram"]).finished["message"]  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_the_end(place: Shed, kind: str) -> None:
    mark = uuid.uuid4().hex
    code = f"""
import os, signal, sys, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open("up", "a").write("x")
            time.sleep(600)  # {mark}
        os._exit(0)
while not os.path.exists("up") or len(open("up").read()) < 3:
    time.sleep(0.01)
"""
    attempt = place.run(["python", "-c", code], kind)
    assert attempt.finished is not None
    assert attempt.finished["exit_code"] == 0, attempt.text("stderr")
    assert marked(mark) == []


@pytest.mark.parametrize("kind", KINDS)
def test_cancel_kills_what_ignores_sigterm(place: Shed, kind: str) -> None:
    mark = uuid.uuid4().hex
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    code += f"  # {mark}"
    attempt = place.launch(["python", "-c", code], kind, grace_s=0.5)
    wait_for(lambda: attempt.text() == "up\n")
    attempt.order = {"kind": "cancel"}
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["stopped_by"] == "cancel"
    assert attempt.finished["signal"] == 9
    assert marked(mark) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shell", [False, True])
def test_pause_lets_the_job_write_a_checkpoint(place: Shed, kind: str, shell: bool) -> None:
    code = """
import json, signal, sys, time
import trainshed_job as job
def stop(*_):
    assert job.should_stop()
    job.save_checkpoint("step.json", lambda p: p.write_text(json.dumps({"step": 42})))
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("up")
while True: time.sleep(0.01)
"""
    command = ["python", "-c", code]
    if shell:
        command = ["sh", "-c", 'python3 -c "$0"; echo after', code]
    attempt = place.launch(command, kind, grace_s=5)
    wait_for(lambda: "up\n" in attempt.text())
    attempt.order = {"kind": "pause"}
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["stopped_by"] == "pause"
    kept = [a for a in attempt.artifacts if a["kind"] == "checkpoint"]
    assert [(a["step"], [f["path"] for f in a["files"]]) for a in kept] == [(42, ["step.json"])]


def test_checkpoint_order_keeps_a_set_while_it_runs(place: Shed) -> None:
    code = """
import time, trainshed_job as job
print("up")
while not job.should_checkpoint(): time.sleep(0.01)
def write(folder):
    folder.mkdir(); (folder / "weights").write_bytes(b"w" * 100000)
job.save_checkpoint("checkpoint-7", write)
while not job.should_stop(): time.sleep(0.01)
"""
    attempt = place.launch(["python", "-c", code])
    wait_for(lambda: attempt.text() == "up\n")
    attempt.order = {"kind": "checkpoint"}
    wait_for(lambda: attempt.artifacts)
    assert attempt.artifacts[0]["step"] == 7
    assert attempt.finished is None
    attempt.order = {"kind": "drain"}
    wait_for(lambda: attempt.finished)
    assert len(attempt.artifacts) == 1, "the same set is not sent again at the end"


def test_time_limit(place: Shed) -> None:
    attempt = place.run(["sleep", "600"], limits={"max_runtime_ms": 400})
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "timeout"
    assert 350 <= attempt.finished["runtime_ms"] < 5000
    assert "0.4 s" in attempt.finished["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_limit(place: Shed, kind: str) -> None:
    code = (
        "import time\nx = []\nfor i in range(400): x.append(bytearray(4 << 20)); time.sleep(0.002)"
    )
    attempt = place.run(["python", "-c", code], kind, limits={"memory_bytes": 64 << 20})
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "memory", attempt.finished
    assert "64 MiB" in attempt.finished["message"]


def test_disk_limit(place: Shed) -> None:
    code = (
        "import time\nfor i in range(9): open(f'f{i}','wb').write(bytes(4 << 20))\ntime.sleep(60)"
    )
    limits = {"disk_bytes": 16 << 20}
    attempt = place.run(["python", "-c", code], limits=limits)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "disk"


def test_fork_bomb_is_bounded(place: Shed) -> None:
    code = """
import os, time
n = 0
try:
    while True:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        n += 1
except OSError:
    print(n)
"""
    attempt = place.run(["python", "-c", code], limits={"pids": 40})
    assert 0 < int(attempt.text()) <= 40


def test_outputs_are_kept_when_it_fails(place: Shed) -> None:
    code = """
import os, trainshed_job as job
out = job.output_dir()
(out / "a" / "b").mkdir(parents=True)
(out / "a" / "b" / "model.bin").write_bytes(b"m" * 3_000_000)
(out / "empty").touch()
os.symlink("/etc/shadow", out / "link"); os.symlink("/", out / "dir"); os.mkfifo(out / "pipe")
raise SystemExit(4)
"""
    attempt = place.run(["python", "-c", code])
    assert attempt.finished is not None
    assert attempt.finished["exit_code"] == 4
    (kept,) = attempt.artifacts
    assert {f["path"] for f in kept["files"]} == {"a/b/model.bin", "empty"}
    assert "'link' is not a regular file" in attempt.text("system")


def test_refused_outputs_fail_the_attempt(place: Shed) -> None:
    attempt = place.launch(["sh", "-c", "sleep 0.1; echo x > $TRAINSHED_OUTPUT_DIR/x"])
    attempt.blob_status = 507
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "collect_failed"
    assert "quota" in attempt.finished["message"]


def test_heartbeats_carry_figures(place: Shed) -> None:
    attempt = place.run(["sleep", "0.8"])
    assert len(attempt.heartbeats) >= 2
    assert attempt.heartbeats[0]["rss_bytes"] > 0
    assert attempt.heartbeats[1]["runtime_ms"] >= 300


def test_stale_lease_ends_quietly(place: Shed) -> None:
    mark = uuid.uuid4().hex
    attempt = place.launch(["python", "-c", f"import time; time.sleep(600)  # {mark}"])
    wait_for(lambda: attempt.heartbeats)
    attempt.stale = True
    wait_for(lambda: place.gone(attempt))
    assert attempt.finished is None
    assert marked(mark) == []
    assert not (place.folder(attempt) / "outcome.json").exists()


def test_unknown_token_starts_nothing(place: Shed) -> None:
    attempt = place.launch(["true"])
    other = place.launch(["touch", "ran"], attempt_id="att_other")
    other.token = "changed"
    wait_for(lambda: place.gone(attempt) and place.gone(other))


def test_environment_kinds_that_are_missing(place: Shed) -> None:
    attempt = place.run(["true"], environment={"kind": "other", "value": "x"})
    assert attempt.finished is not None
    assert attempt.finished["cause"] == "environment"
    assert "'other' is unknown" in attempt.finished["message"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to have another uid")
def test_workspace_belongs_to_the_job(place: Shed) -> None:
    attempt = place.run(["sh", "-c", "id -u; touch here"])
    assert attempt.text() == f"{UID}\n"
    assert (place.folder(attempt) / "work" / "here").stat().st_uid == UID
