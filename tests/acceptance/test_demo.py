"""``trainshed demo`` as a user runs it: real data, real training, a model that scores as logged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

TRAINSHED = str(Path(sys.executable).parent / "trainshed")


def test_demo_json(tmp_path: Path) -> None:
    home = tmp_path / "kept"
    done = subprocess.run(
        [TRAINSHED, "demo", "--data", str(home), "--json"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["accuracy"] >= 0.9
    assert result["accuracy"] == result["logged_accuracy"]
    assert Path(result["model"]).is_relative_to(home)
    assert result["receipt"]["captured_ucredits"] > 0
    assert score_by_hand(Path(result["model"])) == result["accuracy"]
    assert not still_running(str(home))


def score_by_hand(model: Path) -> float:
    """Score with nothing of ours: scikit-learn's own images and plain numpy."""
    from sklearn.datasets import load_digits

    saved, found = np.load(model, allow_pickle=False), load_digits()
    x, y = (found.data / 16).astype(np.float32)[saved["held_out"]], found.target[saved["held_out"]]
    hidden = np.maximum(x.astype(np.float64) @ saved["w1"] + saved["b1"], 0)
    return float(((hidden @ saved["w2"] + saved["b2"]).argmax(axis=1) == y).mean())


def still_running(marker: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if marker in line:
                found.append(line)
    return found
