"""Numbers in what training code prints or appends, and nothing but numbers.

Understood: ``METRIC:{json}``, the dicts that Hugging Face's Trainer prints, lines such as
``Epoch 1/3, Step 10/1000, Loss: 0.523``, and the append file of ``trainshed_job``.
"""

from __future__ import annotations

import ast
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

Row = tuple[str, int, int, float]

MAX_LINE = 64 * 1024
MAX_KEY = 200
INT64 = 2**63

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Infinity)"
_EPOCH = re.compile(r"(?i)\bepoch\s*:?\s*\[?(\d+)\s*(?:/|of)\s*(\d+)\]?")
_STEP = re.compile(r"(?i)\bstep\s*:?\s*\[?(\d+)(?:\s*(?:/|of)\s*(\d+))?\]?")
_PAIR = re.compile(
    rf"([A-Za-z_][\w/.\-]*(?: [A-Za-z_][\w/.\-]*){{0,2}})\s*[:=]\s*({_NUMBER})(?=[\s,;|)\]]|$)"
)
_LIKELY = re.compile(rb"METRIC:|\{['\"]|[Ee]poch|EPOCH|[Ss]tep")
_STAMPS = ("at_ms", "timestamp", "time")


class Parser:
    """Turns text into points. Keeps the unfinished last line and a counter per key."""

    def __init__(self) -> None:
        self._rest = b""
        self._next: dict[str, int] = {}

    def feed(self, data: bytes) -> list[Row]:
        """Return the points in what a process printed; may end in the middle of a line."""
        text = self._rest + data
        cut = text.rfind(b"\n") + 1
        self._rest = text[cut:]
        if len(self._rest) > MAX_LINE:
            self._rest = b""
        if not cut or _LIKELY.search(text, 0, cut) is None:
            return []
        now = int(time.time() * 1000)
        out: list[Row] = []
        for line in text[:cut].split(b"\n"):
            if len(line) <= MAX_LINE and _LIKELY.search(line) is not None:
                out.extend(self._line(line.decode("utf-8", "replace").strip(), now))
        return out

    def finish(self) -> list[Row]:
        """Return the points of a last line that has no newline."""
        return self.feed(b"\n") if self._rest else []

    def feed_file(self, data: bytes) -> list[Row]:
        """Return the points in a piece of ``metrics.jsonl``: {"at_ms", "step", "values"} lines."""
        text = self._rest + data
        cut = text.rfind(b"\n") + 1
        self._rest = text[cut:]
        if len(self._rest) > MAX_LINE:
            self._rest = b""
        out: list[Row] = []
        for line in text[:cut].split(b"\n"):
            found = _object(line)
            values = found.get("values")
            if isinstance(values, dict):
                at = found.get("at_ms")
                now = int(time.time() * 1000)
                stamp = at if isinstance(at, int) and 0 <= at < INT64 else now
                out.extend(self._points(values, _whole(found.get("step")), stamp))
        return out

    def _line(self, line: str, now: int) -> list[Row]:
        start = line.find("METRIC:")
        if start >= 0:
            return self._marked(_object(line[start + 7 :].encode()), now)
        if line.startswith("{") and line.endswith("}"):
            values = _printed(line)
            return self._points(values, _whole(values.pop("step", None)), now)
        return self._words(line, now)

    def _marked(self, found: dict[str, Any], now: int) -> list[Row]:
        step = _whole(found.pop("step", None))
        for name in _STAMPS:
            found.pop(name, None)
        names = [found[k] for k in ("name", "key", "metric") if isinstance(found.get(k), str)]
        name = names[0] if names else ""
        if name and "value" in found:
            found = {name: found["value"]}
        return self._points(found, step, now)

    def _words(self, line: str, now: int) -> list[Row]:
        epoch, step = _EPOCH.search(line), _STEP.search(line)
        if epoch is None and (step is None or step[2] is None):
            return []
        values: dict[str, Any] = {}
        if epoch is not None:
            values |= {"epoch": int(epoch[1]), "epoch_total": int(epoch[2])}
        if step is not None and step[2] is not None:
            values["step_total"] = int(step[2])
        for match in _PAIR.finditer(line):
            key = match[1].lower().replace(" ", "_")
            if key not in ("epoch", "step"):
                values.setdefault(key, float(match[2]))
        return self._points(values, None if step is None else _whole(int(step[1])), now)

    def _points(self, values: Mapping[str, Any], step: int | None, at_ms: int) -> list[Row]:
        out: list[Row] = []
        for key, value in values.items():
            number = _number(value)
            if number is None or not 0 < len(key) <= MAX_KEY:
                continue
            at = self._next.get(key, 0) if step is None else step
            self._next[key] = max(self._next.get(key, 0), at + 1) if step is None else at + 1
            out.append((key, at, at_ms, number))
        return out


def to_wire(rows: Iterable[Row]) -> list[list[Any]]:
    """Return points as strict JSON takes them: NaN and infinities by name."""
    return [[key, step, at_ms, _jsonable(value)] for key, step, at_ms, value in rows]


def _jsonable(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number):
        return None
    return int(value) if -INT64 <= number < INT64 - 1024 else None


def _printed(line: str) -> dict[str, Any]:
    """Return a printed dict of numbers; newer Trainers print them as text."""
    try:
        tree = ast.parse(line, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return {}
    if not isinstance(tree, ast.Dict):
        return {}
    out: dict[str, Any] = {}
    for key, value in zip(tree.keys, tree.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            number = _literal(value)
            if number is not None:
                out[key.value] = number
    return out


def _literal(node: ast.expr) -> float | int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Name):
        return {"nan": math.nan, "inf": math.inf}.get(node.id)
    if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
        return None
    if isinstance(node.value, int | float):
        return node.value
    if isinstance(node.value, str) and re.fullmatch(_NUMBER, node.value):
        return float(node.value)
    return None
