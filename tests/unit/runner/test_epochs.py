"""When a reported epoch is one to keep a checkpoint of."""

from __future__ import annotations

import math

import pytest

from trainshed.runner.metrics import Parser
from trainshed.runner.snapshots import Epochs

HF = "".join("{'loss': 1.0, 'epoch': %s}\n" % (n / 10) for n in range(1, 46))


@pytest.mark.parametrize(
    ("every", "said", "times"),
    [
        (1, "Epoch 1/3\nEpoch 2/3\nEpoch 3/3\n", 3),
        (2, "".join(f"Epoch {n}/10, loss: 0.5\n" for n in range(1, 11)), 5),
        (3, "Epoch 0/9\nEpoch 1/9\nEpoch 2/9\n", 0),
        (3, "Epoch 2/9\nEpoch 4/9\nEpoch 8/9\n", 2),
        (2, 'METRIC:{"epoch": 2, "loss": 1}\nMETRIC:{"epoch": 2, "acc": 1}\n', 1),
        (1, HF, 4),
        (1, 'METRIC:{"epoch": NaN}\nMETRIC:{"epoch": -5}\nMETRIC:{"loss": 9}\n', 0),
        (1, 'METRIC:{"epoch": 3}\nMETRIC:{"epoch": 1}\n', 1),
    ],
)
def test_every_nth_epoch_counts_once(every: int, said: str, times: int) -> None:
    seen: list[int] = []
    epochs = Epochs(every, lambda: seen.append(1))
    parser = Parser()
    for line in said.splitlines(keepends=True):
        epochs.hear(parser.feed(line.encode()))
    assert len(seen) == times


def test_infinities_are_no_epochs() -> None:
    epochs = Epochs(1, lambda: pytest.fail("nothing was due"))
    epochs.hear([("epoch", 0, 0, math.inf), ("epoch", 1, 0, math.nan)])
