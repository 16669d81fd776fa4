"""``trainshed demo``: start a server, train on real images through the queue, score what comes
back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from trainshed.bootstrap.demo.train_digits import forward
from trainshed_client import Client

SCRIPT = Path(__file__).with_name("train_digits.py")
START_S = 30


@dataclass(frozen=True)
class Result:
    """What ``--json`` prints."""

    job_id: str
    accuracy: float
    logged_accuracy: float
    model: str
    receipt: dict[str, Any]


def run(data: Path | None, as_json: bool) -> int:
    """Run the demo; return the exit status: 0 only if the downloaded model scores as logged."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="trainshed-demo-") as folder:
        home = (data or Path(folder)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        server, url = start(home)
        try:
            credentials = json.loads((home / "credentials.json").read_text())
            with Client(url=url, api_key=credentials["api_key"]) as client:
                result = drive(client, home, console)
        finally:
            stop(server, home)
        good = result.accuracy >= 0.9 and abs(result.accuracy - result.logged_accuracy) < 1e-9
        if as_json:
            print(json.dumps(result.__dict__))
        else:
            show(console, result, url, good, kept=data is not None)
    return 0 if good else 1


def start(home: Path) -> tuple[subprocess.Popen[str], str]:
    """Start ``trainshed up`` on a free port; return it and its URL."""
    command = [
        sys.executable, "-c", "from trainshed.bootstrap.cli import up; up()",
        "--data", str(home), "--listen", "127.0.0.1:0", "--log-level", "warning",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    line = server.stdout.readline() if server.stdout else ""
    if not line.startswith("trainshed ready "):
        server.wait(START_S)
        raise SystemExit("error: the server did not start; see the message above.")
    return server, line.split()[-1]


def stop(server: subprocess.Popen[str], home: Path) -> None:
    """Stop the server and the template of its data directory: nothing of the demo stays."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    from trainshed.executors.process.executor import ProcessExecutor

    ProcessExecutor(home).shut()


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 images of handwritten digits as (n × 64 in 0…1, labels)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target.astype(np.int64)


def drive(client: Client, home: Path, console: Console) -> Result:
    """Upload, submit, watch, download, score."""
    x, y = digits()
    source = home / "digits.npz"
    np.savez_compressed(source, x=x, y=y)
    inputs = []
    for path, name in ((SCRIPT, "train.py"), (source, "digits.npz")):
        upload = client.uploads.upload_file(path, f"demo/{name}")
        inputs.append({"source": "upload", "ref": upload.id, "path": name})
    console.print(f"Uploaded train.py and digits.npz ({len(x)} images).", markup=False)
    job = client.jobs.create(
        name="digits", command=["python", "train.py"], inputs=inputs, max_runtime_s=600
    )
    console.print(f"Submitted {job.id}.", markup=False)
    watch(client, job.id, console)
    done = client.jobs.wait(job.id, 120, poll_s=0.2)
    if done.state != "SUCCEEDED":
        tail = client.jobs.logs(job.id, stream="stderr", tail=20).text
        raise SystemExit(f"error: the job ended {done.state}: {done.message}\n{tail}")
    target = home / "model.npz"
    client.jobs.download(job.id, "model.npz", target)
    logged = client.jobs.series(job.id, "accuracy").points[-1].value or 0.0
    receipt = client.jobs.receipt(job.id)
    return Result(job.id, score(target, x, y), logged, str(target), dict(receipt.raw))


def watch(client: Client, job_id: str, console: Console) -> None:
    """Show epochs and loss while the job runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task("training", total=None, loss="")
        seen: dict[str, float] = {}
        for point in client.jobs.follow_metrics(job_id):
            if point.value is not None:
                seen[point.key] = point.value
            progress.update(
                task,
                total=seen.get("epoch_total"),
                completed=seen.get("epoch", 0),
                loss=f"loss {seen.get('loss', 0):.4f}  accuracy {seen.get('accuracy', 0):.4f}",
            )


def score(model: Path, x: np.ndarray, y: np.ndarray) -> float:
    """Return the accuracy of the downloaded model on the images it was not trained on."""
    saved = np.load(model, allow_pickle=False)
    held_out = saved["held_out"]
    weights = {k: saved[k] for k in ("w1", "b1", "w2", "b2")}
    _, probability = forward(weights, x[held_out].astype(np.float64))
    return float((probability.argmax(axis=1) == y[held_out]).mean())


def show(console: Console, result: Result, url: str, good: bool, kept: bool) -> None:
    """Print what happened for people."""
    r = result.receipt
    lines = [
        f"Held-out accuracy {result.accuracy:.4f} scored from the downloaded model"
        f" (logged: {result.logged_accuracy:.4f}) {'✓' if good else '✗ they should agree, ≥ 0.9'}",
        f"Receipt: queued {r['queued_s']:.2f} s, useful {r['useful_s']:.2f} s,"
        f" lost {r['lost_s']:.2f} s;"
        f" held {r['held_ucredits'] / 1e6:g}, charged {r['captured_ucredits'] / 1e6:g},"
        f" released {r['released_ucredits'] / 1e6:g} credits.",
    ]
    if kept:
        home = Path(result.model).parent
        lines += [
            f"Model: {result.model}",
            "Look at the job again:",
            f"  trainshed up --data {home}",
            f"  trainshed jobs show {result.job_id}",
            f"  curl -H 'Authorization: Bearer …' {url}/v1/jobs/{result.job_id}",
        ]
    for line in lines:
        console.print(line, markup=False, highlight=False)
