"""What an operator family tells the compiler, and what it is given to write its C.

A file of ``compiler/ops`` is one family: it ends with ``ENTRIES``, a tuple of `Entry`. Each entry
is the one truth about a kind of operator: the check before a build reads the same table.

To add an operator:

1. Write ``emit(site)``: it returns `Code`, whose ``body`` is the inside of one C function. Address
   tensors with ``site.at(tensor)``; declare tables with ``site.constant``; put every number into
   the text as a literal, so that the C compiler specialises the layer.
2. Write the loops once as ``static inline`` functions in a header of ``compiler/kernels`` that take
   the literals as arguments (macro ``KERNEL`` of ``base.h``), and name the header in ``Code``.
3. State the ``types``: pairs (first input, first output), and the newest version understood.
4. ``refuse`` says in one sentence why an operator of that kind cannot be compiled, and what to do.
5. ``scratch`` gives the bytes of working memory, ``overwrites`` the inputs in whose place the
   output may be written, ``alias`` that the operator only renames its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainshed.domain.board import Core
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor

INT8 = (DType.INT8, DType.INT8)
FLOAT = (DType.FLOAT32, DType.FLOAT32)
C_TYPES = {
    DType.FLOAT32: "float", DType.INT8: "int8_t", DType.UINT8: "uint8_t", DType.INT16: "int16_t",
    DType.INT32: "int32_t", DType.INT64: "int64_t", DType.BOOL: "uint8_t",
}  # fmt: skip
# A larger table is taken in as bytes: the C compiler is slow to read it as text.
BLOB_BYTES = 512


class Unsupported(Exception):
    """The compiler cannot do an operator. ``operator``: its index in the graph."""

    def __init__(self, operator: int, message: str) -> None:
        super().__init__(message)
        self.operator = operator
        self.message = message


@dataclass(frozen=True, slots=True)
class Code:
    """One layer. ``streamed_bytes``: bytes of constants read while it runs, repeats counted."""

    body: str
    headers: tuple[str, ...] = ()
    macs: int = 0
    streamed_bytes: int = 0


@dataclass(slots=True)
class Constants:
    """What the layers put into flash: C text, and the large tables as one run of bytes."""

    prefix: str
    text: list[str] = field(default_factory=list)
    blob: bytearray = field(default_factory=bytearray)

    def declare(self, symbol: str, ctype: str, values: np.ndarray[Any, Any]) -> None:
        """Write a constant array; its elements already have the C type's width."""
        raw = values.tobytes()
        if len(raw) <= BLOB_BYTES:
            words = ", ".join(_literal(v) for v in values.ravel().tolist())
            self.text.append(
                f"static const {ctype} {symbol}[{values.size}] __attribute__((aligned(8))) = "
                f"{{{words}}};"
            )
            return
        self.blob.extend(bytes(-len(self.blob) % 8))
        self.text.append(
            f"extern const {ctype} {symbol}[{values.size}];\n"
            f'__asm__(".section .rodata.{symbol},\\"a\\",%progbits\\n.balign 8\\n'
            f".type {symbol},%object\\n.size {symbol},{len(raw)}\\n{symbol}:\\n"
            f'.incbin \\"{self.prefix}weights.bin\\",{len(self.blob)},{len(raw)}\\n.previous\\n");'
        )
        self.blob.extend(raw)


@dataclass(slots=True)
class Site:
    """Where a layer is compiled: the operator, the core, and the names that its C may use."""

    graph: Graph
    operator: Operator
    core: Core
    symbol: str
    arena: str
    offsets: dict[int, int]
    scratch_offset: int
    constants: Constants
    symbols: list[str] = field(default_factory=list)
    weight_bytes: int = 0

    def input(self, position: int = 0) -> Tensor:
        """Return an input; see ``has_input`` for optional ones."""
        return self.graph.tensors[self.operator.inputs[position]]

    def has_input(self, position: int) -> bool:
        """Whether the optional input is there."""
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def output(self, position: int = 0) -> Tensor:
        """Return an output."""
        return self.graph.tensors[self.operator.outputs[position]]

    def at(self, tensor: Tensor, as_type: str = "") -> str:
        """Return the C pointer to the tensor's elements: in the arena, or to its constant."""
        ctype = as_type or C_TYPES[tensor.dtype]
        if tensor.data is not None:
            dtype = NUMPY[tensor.dtype]
            return self.constant(f"t{tensor.index}", ctype, np.frombuffer(tensor.data, dtype))
        return f"(({ctype} *)({self.arena} + {self.offsets[tensor.index]}))"

    def scratch(self, ctype: str = "int8_t") -> str:
        """Return the C pointer to the bytes that the entry's ``scratch`` asked for."""
        return f"(({ctype} *)({self.arena} + {self.scratch_offset}))"

    def constant(
        self, role: str, ctype: str, values: np.ndarray[Any, Any] | Sequence[float]
    ) -> str:
        """Put a table into flash and return its symbol, ``layer_03_conv_2d_ROLE``."""
        symbol = f"{self.symbol}_{role}"
        if symbol in self.symbols:
            return symbol
        array = np.ascontiguousarray(values, dtype=WIDTHS[ctype])
        self.constants.declare(symbol, ctype, array)
        self.symbols.append(symbol)
        self.weight_bytes += array.nbytes
        return symbol


def _nothing_refused(graph: Graph, operator: Operator) -> str | None:
    return None


def _no_scratch(graph: Graph, operator: Operator, core: Core) -> int:
    return 0


def _none_overwritten(graph: Graph, operator: Operator, core: Core) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind of operator. ``types``: the pairs (first input, first output) it is written for.

    ``overwrites``: indexes of tensors whose place the first output may take, because the layer
    reads each element before it writes there. ``alias``: the first output is the first input.
    ``n_inputs``: the least number of inputs, none of them omitted.
    """

    kind: str
    max_version: int
    types: tuple[tuple[DType, DType], ...]
    emit: Callable[[Site], Code]
    refuse: Callable[[Graph, Operator], str | None] = _nothing_refused
    scratch: Callable[[Graph, Operator, Core], int] = _no_scratch
    overwrites: Callable[[Graph, Operator, Core], tuple[int, ...]] = _none_overwritten
    alias: bool = False
    n_inputs: int = 1


NUMPY: dict[DType, str] = {
    DType.FLOAT32: "<f4", DType.INT8: "<i1", DType.UINT8: "<u1", DType.INT16: "<i2",
    DType.INT32: "<i4", DType.INT64: "<i8", DType.BOOL: "<u1",
}  # fmt: skip
WIDTHS: dict[str, str] = {C_TYPES[d]: NUMPY[d] for d in C_TYPES} | {"uint32_t": "<u4"}


def _literal(value: object) -> str:
    if isinstance(value, float):
        return float_literal(value)
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def float_literal(value: float) -> str:
    """Return a C float that reads back as the same 32 bits; not finite numbers as builtins."""
    if value != value:
        return '__builtin_nanf("")'
    if value in (float("inf"), float("-inf")):
        return "__builtin_inff()" if value > 0 else "(-__builtin_inff())"
    return f"{value.hex()}f"
