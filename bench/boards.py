"""Models on emulated boards: seconds a request, requests a minute, and how tight the code is.

The peer of the code is an earlier prototype of the same kernels, its counts on a Cortex-M4.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from tests.support.server import Api, Server, eventually

from bench.rows import PLACE, Row

MODELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "mlperf_tiny"
BOARD = "nrf5340dk"
ON_M4 = "nrf52840dk"
WORKERS = 2
SECONDS = {"kws_int8": 4.0, "ic_float32": 6.0}
A_MINUTE = 25
#: Model -> instructions per multiply-accumulate of the prototype, and the goal.
PER_MAC = {"kws_int8": (2.30, 2.0), "ic_int8": (1.78, 1.6), "ad_int8": (1.77, 1.6)}


def rows(server: Server, scale: int) -> list[Row]:
    """Measure everything of this file; nothing where the models are absent."""
    if not MODELS.is_dir():
        print(f"boards: no models in {MODELS}, so nothing is measured")
        return []
    found = [_request(model, allowed, scale) for model, allowed in SECONDS.items()]
    found += [_per_mac(model, peer, goal) for model, (peer, goal) in PER_MAC.items()]
    return [*found, _throughput(Api(server), 3 * scale)]


def evaluated(folder: Path, model: str, board: str) -> float:
    """Run one request as a Job does, with nothing cached; return its seconds."""
    (folder / "model.tflite").write_bytes((MODELS / f"{model}.tflite").read_bytes())
    environment = {**os.environ, "TRAINSHED_OUTPUT_DIR": str(folder / "output")}
    environment.pop("TRAINSHED_BOARD_CACHE", None)
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "trainshed.workloads.board.run", json.dumps({"board": board})],
        cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    return time.perf_counter() - begin


def _request(model: str, allowed: float, scale: int) -> Row:
    spent = []
    for _ in range(scale):
        with tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=PLACE) as folder:
            spent.append(evaluated(Path(folder), model, BOARD))
    what = f"board request {model}, nothing cached"
    return Row(what, median(spent), "s", allowed, "allowed", 1.0, at_most=True)


def _per_mac(model: str, peer: float, goal: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="trainshed-bench-", dir=PLACE) as folder:
        evaluated(Path(folder), model, ON_M4)
        total = json.loads(Path(folder, "output", "layers.json").read_text())["total"]
    value = total["instructions"] / total["macs"]
    what = f"instructions per MAC {model}, M4"
    return Row(what, value, "insn", peer, "prototype", goal / peer, at_most=True)


def _throughput(api: Api, n: int) -> Row:
    """Requests of all int8 models on several boards at the MIMaaS door, two at a time."""
    models = [(MODELS / f"{name}.tflite").read_bytes() for name in PER_MAC]
    boards = ("nrf5340dk", "nucleo_l4r5zi", "disco_f746ng", "nucleo_g0b1re")

    def submit(i: int) -> int:
        form = {"board": boards[i % len(boards)], "quantize": "false"}
        files = {"network": (f"model-{i}.tflite", models[i % len(models)])}
        made = api.http.post("/api/requests/", data=form, files=files, timeout=60)
        return int(api.ok(made)["id"])

    def ended(request: int) -> str:
        found = api.ok(api.http.get(f"/api/requests/{request}"))
        return "" if found["status"] in ("pending", "processing") else str(found["status"])

    begin = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        ids = list(pool.map(submit, range(n)))
    states = {eventually(partial(ended, one), 600, f"request {one}") for one in ids}
    assert states == {"done"}, states
    a_minute = 60 * n / (time.perf_counter() - begin)
    return Row("board requests a minute, 2 at a time", a_minute, "/min", A_MINUTE, "goal", 1.0)
