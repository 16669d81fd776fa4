"""Train a softmax classifier on images of handwritten digits, with real data and a real held-out
part.

Run as a job: reads ``digits.npz`` (x: n × 64 float32 in 0…1, y: n labels), trains in mini-batches,
logs loss and held-out accuracy each epoch, checkpoints, and leaves ``model.npz`` in the output.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import trainshed_job as job

EPOCHS, BATCH, RATE, HIDDEN, SEED = 30, 64, 0.4, 64, 7


def forward(weights: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden activations and class probabilities."""
    hidden = np.maximum(x @ weights["w1"] + weights["b1"], 0)
    logits = hidden @ weights["w2"] + weights["b2"]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, exp / exp.sum(axis=1, keepdims=True)


def step(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """Take one gradient step; return the batch's mean cross-entropy."""
    hidden, probability = forward(weights, x)
    loss = float(-np.log(probability[np.arange(len(y)), y] + 1e-12).mean())
    error = probability
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = (error @ weights["w2"].T) * (hidden > 0)
    weights["w2"] -= RATE * hidden.T @ error
    weights["b2"] -= RATE * error.sum(axis=0)
    weights["w1"] -= RATE * x.T @ back
    weights["b1"] -= RATE * back.sum(axis=0)
    return loss


def initial(n_in: int, n_out: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return He-initialised weights."""
    return {
        "w1": rng.normal(0, np.sqrt(2 / n_in), (n_in, HIDDEN)),
        "b1": np.zeros(HIDDEN),
        "w2": rng.normal(0, np.sqrt(2 / HIDDEN), (HIDDEN, n_out)),
        "b2": np.zeros(n_out),
    }


def save(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays, with nothing in the file that runs when it is loaded."""
    np.savez(path, allow_pickle=False, **arrays)


def main() -> None:
    """Train, resuming from a checkpoint if there is one."""
    data = np.load(Path(os.environ["TRAINSHED_INPUT_DIR"]) / "digits.npz")
    x, y = data["x"].astype(np.float64), data["y"]
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(x))
    cut = int(len(x) * 0.8)
    train, held_out = order[:cut], order[cut:]
    weights, first = initial(x.shape[1], int(y.max()) + 1, rng), 1
    if (start := job.resume_from()) is not None:
        saved = np.load(Path(start) / "state.npz")
        weights, first = {k: saved[k] for k in weights}, int(saved["epoch"]) + 1
        print(f"Resuming after epoch {first - 1}.")
    accuracy = 0.0
    for epoch in range(first, EPOCHS + 1):
        shuffled = np.random.default_rng(SEED + epoch).permutation(train)
        parts = [shuffled[i : i + BATCH] for i in range(0, len(shuffled), BATCH)]
        loss = float(np.mean([step(weights, x[p], y[p]) for p in parts]))
        _, probability = forward(weights, x[held_out])
        accuracy = float((probability.argmax(axis=1) == y[held_out]).mean())
        print(f"Epoch {epoch}/{EPOCHS}, Loss: {loss:.4f}, held-out accuracy {accuracy:.4f}")
        job.log(step=epoch, epoch=epoch, epoch_total=EPOCHS, loss=loss, accuracy=accuracy)
        if epoch % 10 == 0 or job.should_stop():
            target = Path(os.environ["TRAINSHED_CHECKPOINT_DIR"]) / "state.npz"
            save(target.with_suffix(".new.npz"), epoch=np.array(epoch), **weights)
            target.with_suffix(".new.npz").rename(target)
        if job.should_stop():
            return
    output = Path(os.environ["TRAINSHED_OUTPUT_DIR"])
    save(output / "model.npz", held_out=held_out, **weights)
    print(f"Saved model.npz, held-out accuracy {accuracy:.4f} on {len(held_out)} images.")


if __name__ == "__main__":
    main()
