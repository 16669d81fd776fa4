"""A TensorFlow Lite model as plain values: what the reader gives and all else works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class DType(StrEnum):
    """Element types, named as in the schema."""

    FLOAT32 = "FLOAT32"
    FLOAT16 = "FLOAT16"
    INT8 = "INT8"
    UINT8 = "UINT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    BOOL = "BOOL"
    OTHER = "OTHER"


SIZES: Mapping[DType, int] = {
    DType.FLOAT32: 4, DType.FLOAT16: 2, DType.INT8: 1, DType.UINT8: 1, DType.INT16: 2,
    DType.INT32: 4, DType.INT64: 8, DType.BOOL: 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quant:
    """real = scale × (stored − zero_point). One scale, or one per index of ``axis``."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """``shape``: unknown dimensions read as 1. ``data``: the bytes of a constant, else None."""

    index: int
    name: str
    dtype: DType
    shape: tuple[int, ...]
    quant: Quant | None
    data: bytes | None
    variable: bool = False

    @property
    def n_elements(self) -> int:
        """The product of the shape; 1 for a scalar."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.n_elements * SIZES.get(self.dtype, 0)


@dataclass(frozen=True, slots=True)
class Operator:
    """``kind`` as in the schema (``CONV_2D``). ``inputs``: tensor indexes, −1 where omitted.

    ``options``: the built-in options by the schema's snake_case names; enumerations by their
    names (``{"padding": "SAME", "fused_activation_function": "RELU6", "stride_h": 1}``), with the
    schema's defaults filled in.
    """

    index: int
    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """The one subgraph that runs. ``n_bytes``: of the file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    n_bytes: int
    description: str = ""
