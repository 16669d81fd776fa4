"""TensorFlow Lite files for tests, written with the schema's own classes: a second implementation
beside the reader that they test.

    m = Maker()
    x = m.tensor((1, 8, 8, 3), scale=0.1)
    y = m.tensor((1, 8, 8, 3), scale=0.1)
    m.operator("RELU", [x], [y])
    data = m.pack([x], [y])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
TYPES = {
    "float32": schema.TensorType.FLOAT32, "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16, "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64, "bool": schema.TensorType.BOOL,
}  # fmt: skip
#: Operators whose options have another name than theirs.
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions", "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions", "BATCH_MATMUL": "BatchMatMulOptions",
}  # fmt: skip
ENUMS = {
    "padding": schema.Padding, "fused_activation_function": schema.ActivationFunctionType,
    "weights_format": schema.FullyConnectedOptionsWeightsFormat, "mode": schema.MirrorPadMode,
}  # fmt: skip
ALIGNMENT = 16


class Maker:
    """One subgraph, grown call by call; ``model`` may be changed by hand before ``pack``."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"made for a test"
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = b"main"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]

    def tensor(
        self, shape: Sequence[int], dtype: str = "int8", scale: float | Sequence[float] = (),
        zero: int | Sequence[int] = 0, axis: int = 0, name: str = "",
    ) -> int:  # fmt: skip
        """Add a tensor; return its index. No scale: not quantised."""
        tensor = schema.TensorT()
        tensor.shape = [int(d) for d in shape]
        tensor.type = TYPES[dtype]
        tensor.buffer = 0
        tensor.name = (name or f"t{len(self.graph.tensors)}").encode()
        scales = [float(scale)] if isinstance(scale, int | float) else [float(s) for s in scale]
        if scales:
            quant = schema.QuantizationParametersT()
            quant.scale = np.array(scales, np.float32)
            zeros = [zero] * len(scales) if isinstance(zero, int) else list(zero)
            quant.zeroPoint = np.array(zeros, np.int64)
            quant.quantizedDimension = axis
            tensor.quantization = quant
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(
        self, values: Any, scale: float | Sequence[float] = (), zero: int | Sequence[int] = 0,
        axis: int = 0, name: str = "",
    ) -> int:  # fmt: skip
        """Add a tensor with the values of an array; return its index."""
        array = np.ascontiguousarray(values)
        index = self.tensor(np.shape(values), array.dtype.name, scale, zero, axis, name)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1,
        **options: Any,
    ) -> int:  # fmt: skip
        """Add an operator; options by the schema's snake_case names, enumerations by name."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind, version)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        name = OPTIONS.get(kind, f"{kind.title().replace('_', '')}Options")
        number = getattr(schema.BuiltinOptions, name, 0)
        if number:
            table = getattr(schema, f"{name}T")()
            for key, value in options.items():
                head, *rest = key.split("_")
                attribute = head + "".join(part.capitalize() for part in rest)
                if not hasattr(table, attribute):
                    raise ValueError(f"{name} has no {key}")
                enum = ENUMS.get(key)
                setattr(table, attribute, getattr(enum, value) if enum else value)
            operator.builtinOptionsType, operator.builtinOptions = number, table
        elif options:
            raise ValueError(f"{kind} takes no options")
        self.graph.operators.append(operator)
        return len(self.graph.operators) - 1

    def pack(
        self, inputs: Sequence[int], outputs: Sequence[int], *, old_codes: bool = False,
        external: bool = False,
    ) -> bytes:  # fmt: skip
        """Return the file. ``old_codes``: as before schema 3a; ``external``: weights at the end."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        for code in self.model.operatorCodes:
            code.deprecatedBuiltinCode = min(code.deprecatedBuiltinCode, 127)
            if old_codes:
                code.builtinCode = 0
        return self._external() if external else self._pack()

    def _code(self, kind: str, version: int) -> int:
        number = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        for i, code in enumerate(self.model.operatorCodes):
            if (code.builtinCode, code.version) == (number, version):
                return i
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = number, version
        code.deprecatedBuiltinCode = min(number, 127)
        if number == schema.BuiltinOperator.CUSTOM:
            code.customCode = kind.encode()
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def _pack(self) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _external(self) -> bytes:
        """Write twice: the first file tells where the weights will begin."""
        outside = [b for b in self.model.buffers if b.data is not None]
        kept = [bytes(b.data) for b in outside]
        for buffer, data in zip(outside, kept, strict=True):
            buffer.data, buffer.offset, buffer.size = None, 2, len(data)
        at = _aligned(len(self._pack()))
        tail = b""
        for buffer, data in zip(outside, kept, strict=True):
            buffer.offset = at + len(tail)
            tail += data + bytes(_aligned(len(data)) - len(data))
        head = self._pack()
        return head + bytes(at - len(head)) + tail


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def small_cnn(seed: int = 0, *, old_codes: bool = False, external: bool = False) -> bytes:
    """Return an int8 convolution, depthwise, pooling, dense and softmax: all the usual parts."""
    m = cnn(np.random.default_rng(seed))
    last = m.graph.operators[-1].outputs
    return m.pack([0], last, old_codes=old_codes, external=external)


def cnn(rng: np.random.Generator) -> Maker:
    """Return what `small_cnn` packs, for a test that changes it first."""
    m = Maker()
    x = m.tensor((1, 12, 10, 3), scale=0.05, zero=-5, name="image")
    w = m.constant(_weights(rng, 8, 3, 3, 3), [0.01 + 0.001 * i for i in range(8)], axis=0)
    b = m.constant(rng.integers(-500, 500, 8, np.int32), [0.0005 + 0.00005 * i for i in range(8)])
    y = m.tensor((1, 6, 5, 8), scale=0.08, zero=-128)
    m.operator("CONV_2D", [x, w, b], [y], 3, padding="SAME", stride_w=2, stride_h=2,
               fused_activation_function="RELU")  # fmt: skip
    w = m.constant(_weights(rng, 1, 3, 3, 8), [0.02 + 0.001 * i for i in range(8)], axis=3)
    b = m.constant(rng.integers(-500, 500, 8, np.int32), [0.0016 + 0.00008 * i for i in range(8)])
    y2 = m.tensor((1, 6, 5, 8), scale=0.07, zero=-128)
    m.operator("DEPTHWISE_CONV_2D", [y, w, b], [y2], 3, padding="SAME", stride_w=1, stride_h=1,
               depth_multiplier=1, fused_activation_function="RELU6")  # fmt: skip
    y3 = m.tensor((1, 1, 1, 8), scale=0.07, zero=-128)
    m.operator("AVERAGE_POOL_2D", [y2], [y3], 2, padding="VALID", stride_w=5, stride_h=6,
               filter_width=5, filter_height=6)  # fmt: skip
    w = m.constant(_weights(rng, 4, 8), 0.015)
    y4 = m.tensor((1, 4), scale=0.1, zero=3)
    y5 = m.tensor((1, 4), scale=1 / 256, zero=-128, name="probabilities")
    m.operator("FULLY_CONNECTED", [y3, w, -1], [y4], 4)
    m.operator("SOFTMAX", [y4], [y5], 2, beta=1.0)
    return m


def _weights(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-127, 128, shape, np.int8)
