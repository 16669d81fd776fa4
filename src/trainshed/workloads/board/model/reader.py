"""TensorFlow Lite file to `Graph`: every offset, index and size checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainshed.workloads.board.model.flatbuffer import BadModel, Source, Table
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Quant, Tensor
from trainshed.workloads.board.model.schema import CUSTOM, DTYPES, KINDS, OPTIONS, Field

__all__ = ["BadModel", "read"]

IDENTIFIER = b"TFL3"
MAX_RANK = 8
MAX_ELEMENTS = 2**31 - 1


def read(data: bytes) -> Graph:
    """Return the graph of the file's first subgraph. It holds copies, nothing of ``data``.

    Weights outside of the FlatBuffer are found too; an unknown dimension reads as 1.

    Raises:
        BadModel: what is wrong, and where. No other exception, whatever the bytes.
    """
    model = root(data)
    kinds = [_kind(code) for code in model.tables(1, "operator code")]
    graph = first_subgraph(model)
    buffers = _Buffers(model)
    tensors = [_tensor(i, t, buffers) for i, t in enumerate(graph.tables(0, "tensor"))]
    operators = [
        _operator(i, op, kinds, len(tensors)) for i, op in enumerate(graph.tables(3, "operator"))
    ]
    inputs = _indexes(graph, 1, "model input", len(tensors))
    outputs = _indexes(graph, 2, "model output", len(tensors))
    _check_order(tensors, operators, inputs, outputs)
    return Graph(
        tuple(tensors), tuple(operators), inputs, outputs, len(data), model.text(3, "description"),
    )  # fmt: skip


def root(data: bytes) -> Table:
    """Return the model's table.

    Raises:
        BadModel: it is no TensorFlow Lite file of version 3.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise BadModel(
            "This is no TensorFlow Lite file: the identifier TFL3 is missing. Send the .tflite "
            "file that the converter wrote."
        )
    source = Source(data)
    model = Table(source, source.follow(0, "model"), "model")
    version = model.scalar(0, "u32", 0)
    if version != 3:
        raise BadModel(f"The file's schema version is {version}; only version 3 is known.")
    return model


def first_subgraph(model: Table) -> Table:
    """Return the table of the subgraph that runs.

    Raises:
        BadModel: there is none.
    """
    subgraphs = model.tables(2, "subgraph")
    if not subgraphs:
        raise BadModel("The model has no subgraph, so there is nothing to run.")
    return subgraphs[0]


class _Buffers:
    """The bytes of constants, each taken from the file once, when a tensor asks for it."""

    def __init__(self, model: Table) -> None:
        self._tables = model.tables(4, "buffer")
        self._taken: dict[int, bytes | None] = {}

    def take(self, index: int, what: str) -> bytes | None:
        """Return the bytes of buffer ``index``; None where it is empty."""
        if index >= len(self._tables):
            raise BadModel(f"The {what} wants buffer {index}; there are {len(self._tables)}.")
        if index not in self._taken:
            first, end = buffer_span(self._tables[index])
            self._taken[index] = self._tables[index].source.data[first:end] or None
        return self._taken[index]


def buffer_span(buffer: Table) -> tuple[int, int]:
    """Return (first byte, end) of a buffer's bytes in the file, inside of the FlatBuffer or not."""
    first, n = buffer.span(0, 1, f"data of {buffer.what}")
    if not n:
        first, n = buffer.scalar(1, "u64", 0), buffer.scalar(2, "u64", 0)
        if first <= 1:
            return 0, 0
        buffer.source.need(first, n, f"data of {buffer.what} behind the FlatBuffer")
    return first, first + n


def _kind(code: Table) -> tuple[str, int]:
    """Return name and version.

    Old files keep the number in the first field only, new ones in both or the last.
    """
    number = max(code.scalar(0, "i8", 0), code.scalar(3, "i32", 0))
    version = code.scalar(2, "i32", 1)
    if number == CUSTOM:
        return f"CUSTOM:{code.text(1, f'name of {code.what}', 64)}", version
    if not 0 <= number < len(KINDS):
        raise BadModel(f"The {code.what} has the number {number}, which the schema does not know.")
    return KINDS[number], version


def _tensor(index: int, table: Table, buffers: _Buffers) -> Tensor:
    name = table.text(3, f"name of tensor {index}")
    what = f"tensor {index} ({name!r})" if name else f"tensor {index}"
    dims = table.numbers(0, "i32", f"shape of {what}")
    if len(dims) > MAX_RANK:
        raise BadModel(f"The {what} has {len(dims)} dimensions; at most {MAX_RANK} are read.")
    if any(d < -1 for d in dims):
        raise BadModel(f"The shape of the {what} has a negative dimension: {list(dims)}.")
    shape = tuple(1 if d == -1 else d for d in dims)
    if math.prod(shape) > MAX_ELEMENTS:
        raise BadModel(f"The {what} is too large: its shape is {list(shape)}.")
    dtype = DTYPES.get(table.scalar(1, "i8", 0), DType.OTHER)
    if table.table(6, f"sparsity of {what}") is not None:
        raise BadModel(
            f"The {what} is stored sparsely, which is not supported. Convert the model again "
            "without sparsity.", "sparse_tensor",
        )  # fmt: skip
    tensor = Tensor(
        index, name, dtype, shape, _quant(table, shape, what),
        buffers.take(table.scalar(2, "u32", 0), what), table.scalar(5, "bool", False),
    )  # fmt: skip
    if tensor.data is not None and dtype != DType.OTHER and len(tensor.data) != tensor.n_bytes:
        raise BadModel(
            f"The {what} needs {tensor.n_bytes} bytes of data; its buffer has {len(tensor.data)}."
        )
    return tensor


def _quant(tensor: Table, shape: Sequence[int], what: str) -> Quant | None:
    table = tensor.table(4, f"quantisation of {what}")
    scales = table.numbers(2, "f32", f"scales of {what}") if table else ()
    if table is None or not scales:
        return None
    zeros = table.numbers(3, "i64", f"zero points of {what}") or (0,)
    zeros = zeros * len(scales) if len(zeros) == 1 else zeros
    axis = table.scalar(6, "i32", 0)
    if len(zeros) != len(scales):
        raise BadModel(f"The {what} has {len(scales)} scales and {len(zeros)} zero points.")
    if not all(math.isfinite(s) and s >= 0 for s in scales):
        raise BadModel(f"A scale of the {what} is negative or no number.")
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise BadModel(
            f"The {what} has {len(scales)} scales for dimension {axis} of shape {list(shape)}."
        )
    return Quant(scales, zeros, axis)


def _operator(
    index: int, table: Table, kinds: Sequence[tuple[str, int]], n_tensors: int
) -> Operator:
    code = table.scalar(0, "u32", 0)
    if code >= len(kinds):
        raise BadModel(f"Operator {index} has code {code}; the model has {len(kinds)}.")
    kind, version = kinds[code]
    return Operator(
        index, kind, version,
        _indexes(table, 1, f"input of operator {index} ({kind})", n_tensors, least=-1),
        _indexes(table, 2, f"output of operator {index} ({kind})", n_tensors),
        _options(index, kind, table),
    )  # fmt: skip


def _indexes(table: Table, slot: int, what: str, n: int, least: int = 0) -> tuple[int, ...]:
    found = table.numbers(slot, "i32", f"list of {what}s")
    for i in found:
        if not least <= i < n:
            raise BadModel(f"An {what} is tensor {i}; the model has {n} tensors.")
    return found


def _options(index: int, kind: str, operator: Table) -> Mapping[str, Any]:
    wanted, fields = OPTIONS.get(kind, (0, ()))
    if not wanted:
        return {}
    got = operator.scalar(3, "u8", 0)
    if got not in (0, wanted):
        raise BadModel(f"Operator {index} ({kind}) has the options of another operator.")
    table = operator.table(4, f"options of operator {index} ({kind})") if got else None
    return {field.name: _option(field, table, f"{kind} {index}") for field in fields}


def _option(field: Field, table: Table | None, what: str) -> Any:
    if field.kind == "i32s":
        return table.numbers(field.slot, "i32", f"{field.name} of {what}") if table else ()
    value = table.scalar(field.slot, field.kind, field.default) if table else field.default
    if field.kind == "f32" and not math.isfinite(value):
        raise BadModel(f"The {field.name} of {what} is no number.")
    if not field.names:
        return value
    if not 0 <= value < len(field.names):
        raise BadModel(f"The {field.name} of {what} is {value}, which the schema does not know.")
    return field.names[value]


def _check_order(
    tensors: Sequence[Tensor], operators: Sequence[Operator], inputs: Sequence[int],
    outputs: Sequence[int],
) -> None:  # fmt: skip
    """Each tensor is made once, before it is read."""
    there = {t.index for t in tensors if t.data is not None or t.variable}
    for i in inputs:
        if i in there:
            raise BadModel(f"Model input {i} is a constant or is listed twice.")
        there.add(i)
    for op in operators:
        for i in op.inputs:
            if i != -1 and i not in there and tensors[i].n_elements:
                raise BadModel(
                    f"Operator {op.index} ({op.kind}) reads tensor {i} before any operator makes "
                    "it.", operator=op.index,
                )  # fmt: skip
        for i in op.outputs:
            if i in there:
                raise BadModel(
                    f"Operator {op.index} ({op.kind}) writes tensor {i}, which is an input, a "
                    "constant or made before.", operator=op.index,
                )  # fmt: skip
            there.add(i)
    for i in outputs:
        if i not in there:
            raise BadModel(f"Model output {i} is made by no operator.")
