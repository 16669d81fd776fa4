"""What each layer of a model takes: instructions, time, multiply-accumulates, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.target.protocol import Execution
from trainshed.workloads.board.timing.estimate import Timed


def layer_rows(
    program: Program, execution: Execution, timed: Timed, in_flash: Mapping[str, int]
) -> dict[str, Any]:
    """Return ``layers.json``. Instructions, times and shares sum to the totals with ``overhead``.

    ``in_flash``: layer symbol -> bytes of its constants in the firmware.
    """
    total = timed.duration.value
    rows = [
        {
            "position": layer.position,
            "operator": layer.operator,
            "kind": layer.kind,
            "symbol": layer.symbol,
            "instructions": count.instructions,
            "classes": dict(count.classes),
            "cycles": time.cycles,
            "flash_cycles": time.flash_cycles,
            "time_s": time.seconds,
            "share": time.seconds / total if total else 0.0,
            "macs": layer.macs,
            "instructions_per_mac": count.instructions / layer.macs if layer.macs else None,
            "weight_bytes": in_flash.get(layer.symbol, layer.weight_bytes),
            "streamed_bytes": layer.streamed_bytes,
            "input_bytes": layer.input_bytes,
            "output_bytes": layer.output_bytes,
        }
        for layer, count, time in zip(program.layers, execution.layers, timed.layers, strict=True)
    ]
    return {
        "layers": rows,
        "overhead": {
            "instructions": execution.overhead,
            "time_s": timed.overhead_s,
            "share": timed.overhead_s / total if total else 0.0,
        },
        "total": {
            "instructions": execution.instructions,
            "time_s": total,
            "source": timed.duration.source.value,
            "band": timed.duration.band,
            "macs": sum(layer.macs for layer in program.layers),
        },
    }
