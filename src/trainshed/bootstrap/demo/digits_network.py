"""A small convolutional network for the digits: trained here with numpy, then made int8.

image 8 × 8 ─► conv 3 × 3, 12 channels ─► mean of 2 × 2 ─► dense 32 ─► dense 10 ─► softmax
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainshed.bootstrap.demo.tflite_file import Conv, Dense, MeanPool, Scale, Softmax, model_file

CHANNELS, HIDDEN, CLASSES = 12, 32, 10
EPOCHS, BATCH, RATE, MOMENTUM, SEED = 30, 32, 0.05, 0.9, 7
HELD_OUT = 297
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trained:
    """The int8 model as a file, images it has not seen, and how the float network does there."""

    model: bytes
    images: np.ndarray
    labels: np.ndarray
    float_accuracy: float


def train(images: np.ndarray, labels: np.ndarray) -> Trained:
    """Return a network trained on all images (n × 8 × 8 in 0…1) but the last 297."""
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(images))
    seen, held = order[:-HELD_OUT], order[-HELD_OUT:]
    weights = _initial(rng)
    speed = {name: np.zeros_like(array) for name, array in weights.items()}
    for epoch in range(EPOCHS):
        rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        shuffled = rng.permutation(seen)
        for batch in np.array_split(shuffled, len(seen) // BATCH):
            for name, slope in _slopes(weights, images[batch], labels[batch]).items():
                speed[name] = MOMENTUM * speed[name] - rate * slope
                weights[name] = weights[name] + speed[name]
    right = _forward(weights, images[held])["logits"].argmax(axis=1) == labels[held]
    model = _quantised(weights, images[seen])
    return Trained(model, images[held], labels[held], float(right.mean()))


def as_input(image: np.ndarray) -> bytes:
    """Return an image in 0…1 as the int8 model takes it."""
    return bytes(np.clip(np.round(image * 255) - 128, -128, 127).astype(np.int8).tobytes())


def _initial(rng: np.random.Generator) -> Weights:
    flat = 4 * 4 * CHANNELS
    return {
        "conv": rng.normal(0, np.sqrt(2 / 9), (9, CHANNELS)),
        "conv_bias": np.zeros(CHANNELS),
        "dense": rng.normal(0, np.sqrt(2 / flat), (flat, HIDDEN)),
        "dense_bias": np.zeros(HIDDEN),
        "last": rng.normal(0, np.sqrt(2 / HIDDEN), (HIDDEN, CLASSES)),
        "last_bias": np.zeros(CLASSES),
    }


def _patches(images: np.ndarray) -> np.ndarray:
    """Return each pixel's 3 × 3 neighbourhood, zeros beyond the edge, as n × 8 × 8 × 9."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    views = [padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    return np.stack(views, axis=-1)


def _forward(weights: Weights, images: np.ndarray) -> Weights:
    """Return what every layer gives."""
    found = {"patches": _patches(images)}
    found["conv"] = np.maximum(found["patches"] @ weights["conv"] + weights["conv_bias"], 0)
    n = len(images)
    found["pool"] = found["conv"].reshape(n, 4, 2, 4, 2, CHANNELS).mean(axis=(2, 4))
    flat = found["pool"].reshape(n, -1)
    found["dense"] = np.maximum(flat @ weights["dense"] + weights["dense_bias"], 0)
    found["logits"] = found["dense"] @ weights["last"] + weights["last_bias"]
    return found


def _slopes(weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Return the gradient of the mean cross-entropy."""
    found = _forward(weights, images)
    n = len(images)
    exp = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))
    error = exp / exp.sum(axis=1, keepdims=True)
    error[np.arange(n), labels] -= 1
    error /= n
    at_dense = (error @ weights["last"].T) * (found["dense"] > 0)
    at_pool = (at_dense @ weights["dense"].T).reshape(found["pool"].shape)
    at_conv = at_pool.repeat(2, axis=1).repeat(2, axis=2) / 4 * (found["conv"] > 0)
    return {
        "conv": found["patches"].reshape(-1, 9).T @ at_conv.reshape(-1, CHANNELS),
        "conv_bias": at_conv.sum(axis=(0, 1, 2)),
        "dense": found["pool"].reshape(n, -1).T @ at_dense,
        "dense_bias": at_dense.sum(axis=0),
        "last": found["dense"].T @ error,
        "last_bias": error.sum(axis=0),
    }


def _quantised(weights: Weights, images: np.ndarray) -> bytes:
    """Return the network in int8; the ranges of its values are those that ``images`` make."""
    found = _forward(weights, images)
    kernel = weights["conv"].T.reshape(CHANNELS, 3, 3, 1)
    conv = Scale.of(found["conv"])
    return model_file(
        (8, 8, 1),
        Scale(1 / 255, -128),
        [
            Conv("conv", kernel, weights["conv_bias"], conv),
            MeanPool("pool", conv),
            Dense(
                "dense", weights["dense"].T, weights["dense_bias"], Scale.of(found["dense"]), True
            ),
            Dense(
                "last", weights["last"].T, weights["last_bias"], Scale.of(found["logits"]), False
            ),
            Softmax("softmax"),
        ],
    )
