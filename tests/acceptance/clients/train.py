"""A softmax regression on digits, checkpointed at every epoch: the same bytes however often it
was interrupted. Written for Middleman: it knows its own variables and no module of the platform.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np

EPOCHS, RATE, BATCH = 12, 0.1, 64
data = Path(os.environ["INPUT_DATA_PATH"])
table = np.loadtxt(data / "digits.csv" if data.is_dir() else data, delimiter=",")
x, y = table[:, 1:] / 16.0, table[:, 0].astype(int)
train, held = slice(0, 1400), slice(1400, None)
out, checkpoints = Path(os.environ["OUTPUT_DIR"]), Path(os.environ["CHECKPOINT_DIR"])


def packed(weights: np.ndarray) -> bytes:
    raw = io.BytesIO()
    np.save(raw, weights)
    return raw.getvalue()


def written(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.rename(path)


first, weights = 1, np.zeros((x.shape[1], 10))
resumed = os.environ.get("TRAINSHED_RESUME_FROM")
if resumed:
    name = max(Path(resumed).glob("epoch-*.npy"))
    first, weights = int(name.stem.split("-")[1]) + 1, np.load(name)
    print(f"Resumed after epoch {first - 1}", flush=True)

for epoch in range(first, EPOCHS + 1):
    order = np.random.default_rng(epoch).permutation(1400)
    for batch in np.array_split(order, len(order) // BATCH):
        scores = x[batch] @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        odds[np.arange(len(batch)), y[batch]] -= 1
        weights -= RATE * x[batch].T @ odds / len(batch)
    scores = x[held] @ weights
    top = scores.max(axis=1, keepdims=True)
    norm = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
    loss = float(np.mean(norm - scores[np.arange(len(scores)), y[held]]))
    for old in checkpoints.glob("epoch-*.npy"):
        old.unlink()
    written(checkpoints / f"epoch-{epoch:03}.npy", packed(weights))
    print(f"Epoch {epoch}/{EPOCHS}, Loss: {loss:.6f}", flush=True)
    time.sleep(float(os.environ.get("PACE", "0")))

accuracy = float(np.mean((x[held] @ weights).argmax(1) == y[held]))
written(out / "model.npy", packed(weights))
(out / "report").mkdir()
(out / "report" / "accuracy.txt").write_text(f"{accuracy:.4f}\n")
print(f"accuracy {accuracy:.4f}")
