"""Reading numbers out of text: what is said, and nothing else."""

from __future__ import annotations

import json
import math

import pytest

from trainshed.runner.metrics import Parser, to_wire


def read(text: str) -> list[tuple[str, int, float]]:
    return [(key, step, value) for key, step, _, value in Parser().feed(text.encode())]


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ('METRIC:{"step": 3, "loss": 0.5}', [("loss", 3, 0.5)]),
        ('2026 INFO METRIC: {"loss": 1, "step": 2.0}', [("loss", 2, 1.0)]),
        ('METRIC:{"name": "acc", "value": 0.9, "step": 1}', [("acc", 1, 0.9)]),
        ('METRIC:{"a": true, "b": null, "c": "1", "d": [1], "e": {"f": 1}}', []),
        ("METRIC:{broken", []),
        ("METRIC:[1, 2]", []),
        ('METRIC:{"big": ' + "9" * 400 + "}", []),
        ("{'loss': 0.5, 'epoch': 1.0, 'step': 7}", [("loss", 7, 0.5), ("epoch", 7, 1.0)]),
        ("{'loss': '0.25', 'name': 'x'}", [("loss", 0, 0.25)]),
        ("{'loss': __import__('os').getpid()}", []),
        ("{'loss': -0.5, 'x': 1e-5}", [("loss", 0, -0.5), ("x", 0, 1e-5)]),
        (
            "Epoch 1/3, Step 10/99, Loss: 0.523",
            [("epoch", 10, 1), ("epoch_total", 10, 3), ("step_total", 10, 99), ("loss", 10, 0.523)],
        ),
        (
            "Epoch [2/5] train_loss=0.1 Val Acc: 0.9",
            [("epoch", 0, 2), ("epoch_total", 0, 5), ("train_loss", 0, 0.1), ("val_acc", 0, 0.9)],
        ),
        ("The loss: 0.5 of an epoch is never a metric", []),
        ("step back: 3", []),
        ("plain text", []),
    ],
)  # fmt: skip
def test_lines(line: str, points: list[tuple[str, int, float]]) -> None:
    assert read(line + "\n") == points


def test_not_numbers_are_kept() -> None:
    rows = Parser().feed(b"{'loss': nan, 'grad': -inf}\nMETRIC:{\"x\": NaN, \"y\": Infinity}\n")
    assert [math.isnan(row[3]) for row in rows] == [True, False, True, False]
    assert [row[3] for row in to_wire(rows)] == ["NaN", "-Infinity", "NaN", "Infinity"]
    json.dumps(to_wire(rows), allow_nan=False)


def test_lines_cut_anywhere_read_the_same() -> None:
    text = b'METRIC:{"v": 1}\nxx\nMETRIC:{"v": 2}\n'
    for cut in range(len(text)):
        parser = Parser()
        rows = parser.feed(text[:cut]) + parser.feed(text[cut:])
        assert [(row[1], row[3]) for row in rows] == [(0, 1.0), (1, 2.0)]


def test_last_line_without_newline_and_endless_lines() -> None:
    parser = Parser()
    assert parser.feed(b'METRIC:{"v": 1}') == []
    assert [row[3] for row in parser.finish()] == [1.0]
    for _ in range(100):
        parser.feed(b"x" * 65536)
    assert [row[3] for row in parser.feed(b'\nMETRIC:{"v": 2}\n')] == [2.0]


def test_counter_goes_on_after_named_steps() -> None:
    rows = Parser().feed(b'METRIC:{"v": 1, "step": 9}\nMETRIC:{"v": 2}\nMETRIC:{"w": 1}\n')
    assert [(row[0], row[1]) for row in rows] == [("v", 9), ("v", 10), ("w", 0)]


def test_append_file() -> None:
    parser = Parser()
    rows = parser.feed_file(b'{"at_ms": 5, "step": 1, "values": {"a": 1, "b": "x"}}\nbad\n{"v')
    assert rows == [("a", 1, 5, 1.0)]
    assert parser.feed_file(b'alues": {"a": 2}, "at_ms": 6, "step": null}\n') == [("a", 2, 6, 2.0)]
