"""Whether a calibration set fits a model, by the names, kinds and shapes of its arrays alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainshed.workloads.board.model.graph import Graph

MAX_SAMPLES = 500
#: numpy's letters for numbers.
NUMBERS = "fiu"


class Unfit(Exception):
    """The set does not fit; the text says why and what it must be."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one array: numpy's letter of its kind, and its dimensions, samples first."""

    kind: str
    dims: tuple[int, ...]


def names_of(graph: Graph, arrays: Mapping[str, Shape]) -> list[str]:
    """Return which array has the samples of each input of the model.

    Raises:
        Unfit: one is missing, is no numbers, or has another shape; or they differ in number.
    """
    names = [_name(graph, position, list(arrays)) for position in range(len(graph.inputs))]
    for position, name in enumerate(names):
        _must_fit(graph, position, name, arrays[name])
    counts = sorted({arrays[name].dims[0] for name in names})
    if len(counts) != 1:
        raise Unfit(f"The calibration set has {counts} samples for different inputs.")
    return names


def _name(graph: Graph, position: int, there: Sequence[str]) -> str:
    wanted = [graph.tensors[graph.inputs[position]].name, f"input_{position}"]
    if len(graph.inputs) == len(there) == 1:
        wanted += there
    name = next((name for name in wanted if name in there), None)
    if name is None:
        raise Unfit(f"The calibration set has no array {wanted[0]!r}; it has {sorted(there)[:20]}.")
    return name


def _must_fit(graph: Graph, position: int, name: str, one: Shape) -> None:
    tensor = graph.tensors[graph.inputs[position]]
    shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if one.kind not in NUMBERS or not one.dims or one.dims[1:] not in (shape, tensor.shape):
        raise Unfit(
            f"The calibration array {name!r} has the shape {[*one.dims]} and numpy's kind "
            f"{one.kind!r}; it must be numbers of shape [samples, {', '.join(map(str, shape))}]."
        )
    if not 1 <= one.dims[0] <= MAX_SAMPLES:
        raise Unfit(
            f"The calibration array {name!r} has {one.dims[0]} samples; it must hold 1 to "
            f"{MAX_SAMPLES} samples."
        )
