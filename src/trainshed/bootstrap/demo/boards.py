"""``trainshed demo-board``: train a small network, and learn what it costs on three boards."""

from __future__ import annotations

import json
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mimaas import Comparison, MIMaaSClient, compare
from trainshed.bootstrap.boards import LocalBoards
from trainshed.bootstrap.demo.digits_network import Trained, as_input, train
from trainshed.bootstrap.demo.run import start, stop
from trainshed.workloads.board.oracle import run_reference

BOARDS = ("nrf5340dk", "nucleo_l4r5zi", "rpi_pico")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Result:
    """What ``--json`` prints. ``accuracy``: of the int8 model, on images it has not seen."""

    accuracy: float
    float_accuracy: float
    model: str
    boards: dict[str, Any]
    figures: list[str]


def run(out: Path, as_json: bool) -> int:
    """Run the demo and keep its files in ``out``; return the exit status: 0 if every board did."""
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    missing = LocalBoards().missing()
    if missing:
        console.print(f"error: boards cannot be emulated here. {missing}")
        return 1
    out.mkdir(parents=True, exist_ok=True)
    trained = _trained(console)
    model = out / "digits.tflite"
    model.write_bytes(trained.model)
    accuracy = reference_accuracy(trained)
    console.print(
        f"Trained a network of {len(trained.model):,} bytes: {trained.float_accuracy:.1%} of"
        f" {len(trained.labels)} held-out digits right in float, {accuracy:.1%} in int8"
        " (TensorFlow Lite Micro)."
    )
    with tempfile.TemporaryDirectory(prefix="trainshed-demo-") as folder:
        server, url = start(Path(folder))
        try:
            with MIMaaSClient(url, token_file=Path(folder) / "token") as client:
                found = _compared(client, model, console)
                figures = _figures(client, found, out)
        finally:
            stop(server, Path(folder))
    result = Result(accuracy, trained.float_accuracy, str(model), _told(found), figures)
    if as_json:
        print(json.dumps(result.__dict__))
    else:
        _show(console, found, figures)
    return 0 if accuracy >= 0.9 and all(cell.results for cell in found.cells) else 1


def _trained(console: Console) -> Trained:
    from sklearn.datasets import load_digits

    found = load_digits()
    console.print(f"Training on scikit-learn's {len(found.images):,} images of digits.")
    return train((found.images / 16).astype(np.float32), found.target)


def reference_accuracy(trained: Trained) -> float:
    """Return how many held-out images the int8 model gets right in TensorFlow Lite Micro."""
    answers = run_reference(trained.model, [[as_input(image)] for image in trained.images])
    guesses = [int(np.frombuffer(answer[0], np.int8).argmax()) for answer in answers]
    return float((np.array(guesses) == trained.labels).mean())


def _compared(client: MIMaaSClient, model: Path, console: Console) -> Comparison:
    client.register("demo", "demo@example.com", "Demo", "Demo", secrets.token_urlsafe())
    console.print(f"Registered; {client.get_profile().available_runs} runs. Submitting.")
    return compare([model], BOARDS, client=client, timeout=TIMEOUT_S)


def _figures(client: MIMaaSClient, found: Comparison, out: Path) -> list[str]:
    """Save what the first board's request left, and the figures of it; return their paths."""
    from mimaas.viz import plot_layer_latency, plot_memory_map, plot_power_analysis

    done = next((cell for cell in found.cells if cell.results), None)
    if done is None or done.request_id is None:
        return []
    voltage = client.get_board(done.board).voltage_mv / 1000
    client.download_layers(done.request_id, out / "layers.json")
    client.download_ram_report(done.request_id, out / "ram.json")
    client.download_rom_report(done.request_id, out / "rom.json")
    client.download_power_samples(done.request_id, out / "ppk2_samples.csv")
    client.download_all_artifacts(done.request_id, out / "artifacts.zip")
    made = {
        "comparison": found.figure(),
        "power": plot_power_analysis(out / "ppk2_samples.csv", voltage),
        "layers": plot_layer_latency(out / "layers.json"),
        "ram": plot_memory_map(out / "ram.json"),
        "rom": plot_memory_map(out / "rom.json"),
    }
    paths = []
    for name, figure in made.items():
        paths.append(str(out / f"{name}.html"))
        figure.write_html(paths[-1], include_plotlyjs=True)  # opens without a network
    return paths


def _told(found: Comparison) -> dict[str, Any]:
    return {
        cell.board: {"error": cell.error} if cell.error else cell.figures() for cell in found.cells
    }


def _show(console: Console, found: Comparison, figures: list[str]) -> None:
    console.print()
    console.print(str(found))
    console.print()
    console.print("Figures of an emulated core and its timing model, not measured on a board.")
    if figures:
        console.print("Look at them with a browser:")
        for path in figures:
            console.print(f"  {Path(path).absolute().as_uri()}")
