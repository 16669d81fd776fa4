"""The files of a run, into its output directory."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainshed.domain.board import Source
from trainshed.workloads.board.report.layers import layer_rows
from trainshed.workloads.board.report.memory import memory_trees, weight_bytes
from trainshed.workloads.board.report.power import emulated_trace, write_power
from trainshed.workloads.board.report.summary import (
    FORMAT,
    built_of,
    facts_of,
    figures,
    measured_of,
    result_of,
    timing_of,
)
from trainshed.workloads.board.run.record import Run
from trainshed.workloads.board.target.console import INPUT, OUTPUT, input_file

#: Archives have no clock: the same run gives the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_files(run: Run, folder: Path) -> Mapping[str, float]:
    """Write all files of the run; return the five figures."""
    folder.mkdir(parents=True, exist_ok=True)
    ram, rom = memory_trees(run.firmware, run.program)
    result = result_of(run.timed, ram["total_size"], rom["total_size"])
    layers = layer_rows(run.program, run.execution, run.timed, weight_bytes(run.program, rom))
    for name, content in (
        ("ram.json", ram),
        ("rom.json", rom),
        ("layers.json", layers),
        ("report.json", _report(run, result)),
    ):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    _write_power(run, folder)
    (folder / "firmware.elf").write_bytes(run.firmware.elf.read_bytes())
    if run.bench is not None:
        (folder / "bench.elf").write_bytes(run.bench.elf.read_bytes())
    (folder / INPUT).write_bytes(input_file(run.inputs, run.execution.n_inferences))
    outputs = b"".join(part for one in run.execution.outputs for part in one)
    (folder / OUTPUT).write_bytes(outputs)
    (folder / "model.tflite").write_bytes(run.uploaded)
    (folder / "model.c").write_bytes(run.program.sources["model.c"])
    (folder / "sources.zip").write_bytes(_zip(run.program.sources))
    if run.quantized is not None:
        (folder / "quantized.tflite").write_bytes(run.quantized.model)
    return result


def _write_power(run: Run, folder: Path) -> None:
    """The measured trace where there is one, else the model's."""
    execution, timed = run.execution, run.timed
    voltage = run.board.power.voltage_mv
    if execution.trace is not None:
        write_power(folder, execution.trace, execution.seconds, voltage, Source.MEASURED)
        return
    seconds = timed.duration.value
    trace = emulated_trace(seconds, timed.current_ua, execution.n_inferences)
    durations = [seconds] * execution.n_inferences
    write_power(folder, trace, durations, voltage, Source.ESTIMATED)


def _report(run: Run, result: Mapping[str, float]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "board": facts_of(run.board),
        "request": run.request.to_params(),
        "result": dict(result),
        "figures": figures(
            run.timed, run.execution, run.program,
            int(result["ram_usage"]), int(result["rom_usage"]),
        ),
        "timing": timing_of(run.timed, run.board),
        "comparison": asdict(run.comparison),
        "build": built_of(run.firmware, run.execution),
        "bench": measured_of(run.bench, run.execution),
        "model": {
            "sha256": hashlib.sha256(run.uploaded).hexdigest(),
            "bytes": len(run.uploaded),
            "operators": len(run.graph.operators),
            "layers": len(run.program.layers),
            "macs": sum(layer.macs for layer in run.program.layers),
        },
        "quantization": _quantization(run),
    }  # fmt: skip


def _quantization(run: Run) -> dict[str, Any] | None:
    if run.quantized is None:
        return None
    return {
        "accuracy": asdict(run.quantized.accuracy),
        "warnings": list(run.quantized.warnings),
        "sha256": hashlib.sha256(run.quantized.model).hexdigest(),
        "bytes": len(run.quantized.model),
    }


def _zip(sources: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(sources):
            file.writestr(zipfile.ZipInfo(name, _NO_TIME), sources[name], zipfile.ZIP_DEFLATED)
    return archive.getvalue()
