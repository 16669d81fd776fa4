"""What the compiler makes of a graph: C sources, and what each layer costs in bytes and MACs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One function of the program. ``operator``: the index in the graph.

    ``symbol``: the C function, ``layer_03_conv_2d``. ``macs``: multiply-accumulates.
    ``weight_bytes``: constants in flash. ``streamed_bytes``: bytes of constants read while it
    runs. ``weight_symbols``: the C objects that hold its constants.
    """

    position: int
    operator: int
    kind: str
    symbol: str
    macs: int
    weight_bytes: int
    streamed_bytes: int
    input_bytes: int
    output_bytes: int
    weight_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the model: where it lies in the arena. ``tensor``: graph index."""

    tensor: int
    offset: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Program:
    """``sources``: file name -> content, ``model.c`` with all it includes.

    ``outputs_of``: layer position -> (graph tensor, arena offset, bytes), for finding the first
    layer that differs.
    """

    sources: Mapping[str, bytes]
    layers: tuple[Layer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    outputs_of: tuple[Port, ...]
    arena_bytes: int
    scratch_bytes: int
