"""What an operator's outputs must look like: neither the reference nor the compiled C looks again.

A declared shape that is too small would let a layer write behind its tensor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor

Shape = tuple[int, ...]
#: The reference keeps strides, dilations and paddings in 16 bits.
MAX_STEP = 2**15 - 1
#: Numbers of a parameter, such as paddings: a few a dimension.
MAX_NUMBERS = 64


class Misfit(Exception):
    """The operator's inputs, options and outputs do not fit together; the text says how."""


class Site:
    """An operator with its tensors at hand."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        self.operator = operator
        self._tensors = graph.tensors

    def tensor(self, i: int) -> Tensor:
        """Return input ``i``, which must be there."""
        inputs = self.operator.inputs
        if i >= len(inputs) or inputs[i] < 0:
            raise Misfit(f"input {i} is missing")
        return self._tensors[inputs[i]]

    def shape(self, i: int, rank: int | None = None) -> Shape:
        """Return the shape of input ``i``, with ``rank`` dimensions where that is given."""
        shape = self.tensor(i).shape
        if rank is not None and len(shape) != rank:
            raise Misfit(f"input {i} has {len(shape)} dimensions, not {rank}")
        return shape

    def ints(self, i: int) -> tuple[int, ...]:
        """Return the values of input ``i``, a constant of whole numbers."""
        tensor = self.tensor(i)
        letter = {DType.INT32: "i", DType.INT64: "q"}.get(tensor.dtype)
        if tensor.data is None and not tensor.n_elements:
            return ()
        if tensor.data is None or letter is None:
            raise Misfit(
                f"input {i} is computed while the model runs, which would make shapes dynamic; "
                "convert the model with fixed shapes"
            )
        if tensor.n_elements > MAX_NUMBERS:
            raise Misfit(f"input {i} has {tensor.n_elements} numbers, not at most {MAX_NUMBERS}")
        return struct.unpack(f"<{tensor.n_elements}{letter}", tensor.data)

    def option(self, name: str, least: int | None = None) -> Any:
        """Return an option, at least ``least``."""
        value = self.operator.options[name]
        if least is not None and value < least:
            raise Misfit(f"{name} is {value}, but must be at least {least}")
        return value

    def outputs(self) -> list[Shape]:
        """Return the declared shapes."""
        return [self._tensors[t].shape for t in self.operator.outputs]


def check_shapes(graph: Graph, operator: Operator) -> None:
    """Check arity and shapes of an operator of a known kind.

    Raises:
        Misfit: what does not fit.
    """
    rule = RULES.get(operator.kind)
    if rule is None:
        return
    least, most, infer = rule
    if not least <= len(operator.inputs) <= most:
        raise Misfit(f"it has {len(operator.inputs)} inputs, not {_span(least, most)}")
    site = Site(graph, operator)
    for i in range(least):
        site.tensor(i)
    expected, declared = infer(site), site.outputs()
    if expected != declared:
        raise Misfit(f"it gives {_lists(expected)}, but the model declares {_lists(declared)}")


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _lists(shapes: Sequence[Shape]) -> str:
    return " and ".join(str(list(shape)) for shape in shapes) or "no output"


def _window(site: Site, size: Sequence[int], filter_: Sequence[int]) -> tuple[int, int]:
    """Height and width after a convolution or pooling."""
    found = []
    for axis, n, k in zip("hw", size, filter_, strict=True):
        stride = site.option(f"stride_{axis}", 1)
        name = f"dilation_{axis}_factor"
        dilation = site.option(name, 1) if name in site.operator.options else 1
        span = (k - 1) * dilation + 1
        if max(stride, dilation, span) > MAX_STEP:
            raise Misfit(
                f"a filter of {k} with stride {stride} and dilation {dilation} is beyond {MAX_STEP}"
            )
        reach = span if site.option("padding") == "VALID" else 1
        out = (n + stride - reach) // stride
        if k < 1 or out < 1:
            raise Misfit(f"a filter of {k} with dilation {dilation} does not fit into {n}")
        found.append(out)
    return found[0], found[1]


def _bias(site: Site, i: int, n: int) -> None:
    inputs = site.operator.inputs
    if len(inputs) > i and inputs[i] >= 0 and site.tensor(i).n_elements != n:
        raise Misfit(f"the bias has {site.tensor(i).n_elements} values for {n} channels")


def _conv(site: Site) -> list[Shape]:
    n, h, w, c = site.shape(0, 4)
    channels, kh, kw, depth = site.shape(1, 4)
    if not depth or c % depth or channels % (c // depth or 1):
        raise Misfit(f"filters {list(site.shape(1))} do not fit {c} channels")
    _bias(site, 2, channels)
    return [(n, *_window(site, (h, w), (kh, kw)), channels)]


def _depthwise(site: Site) -> list[Shape]:
    n, h, w, c = site.shape(0, 4)
    one, kh, kw, channels = site.shape(1, 4)
    if one != 1 or channels != c * site.option("depth_multiplier", 1):
        raise Misfit(f"filters {list(site.shape(1))} do not fit {c} channels")
    if len(site.operator.inputs) < 3 or site.operator.inputs[2] < 0:
        raise Misfit("it has no bias, on which the reference crashes; add a bias of zeros")
    _bias(site, 2, channels)
    return [(n, *_window(site, (h, w), (kh, kw)), channels)]


def _transpose_conv(site: Site) -> list[Shape]:
    wanted = site.ints(0)
    channels, kh, kw, depth = site.shape(1, 4)
    n, h, w, c = site.shape(2, 4)
    if len(wanted) != 4 or wanted[0] != n or wanted[3] != channels or depth != c:
        raise Misfit(f"filters {list(site.shape(1))} do not fit {list(wanted)} from {c} channels")
    if _window(site, wanted[1:3], (kh, kw)) != (h, w):
        raise Misfit(f"an output of {list(wanted)} does not come from {[n, h, w, c]}")
    _bias(site, 3, channels)
    return [wanted]


def _pool(site: Site) -> list[Shape]:
    n, h, w, c = site.shape(0, 4)
    size = (site.option("filter_height", 1), site.option("filter_width", 1))
    return [(n, *_window(site, (h, w), size), c)]


def _dense(site: Site) -> list[Shape]:
    """The declared output may have any rank: only its last dimension and its size count."""
    channels, depth = site.shape(1, 2)
    if not depth or site.tensor(0).n_elements % depth:
        raise Misfit(f"{site.tensor(0).n_elements} values do not divide into rows of {depth}")
    _bias(site, 2, channels)
    rows = site.tensor(0).n_elements // depth
    declared = site.outputs()
    fits = [s for s in declared if s and s[-1] == channels and math.prod(s) == rows * channels]
    return fits if len(fits) == 1 else [(rows, channels)]


def _broadcast(site: Site) -> list[Shape]:
    a, b = site.shape(0), site.shape(1)
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        raise Misfit(f"{list(site.shape(0))} and {list(site.shape(1))} cannot be combined")
    return [tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))]


def _same(site: Site) -> list[Shape]:
    return [site.shape(0)]


def _prelu(site: Site) -> list[Shape]:
    if _broadcast(site) != [site.shape(0)]:
        raise Misfit(f"slopes {list(site.shape(1))} do not fit {list(site.shape(0))}")
    return [site.shape(0)]


def _reshaped(site: Site) -> list[Shape]:
    """The declared output is the new shape."""
    declared = site.outputs()
    n = site.tensor(0).n_elements
    if len(declared) == 1 and math.prod(declared[0]) != n:
        raise Misfit(f"{n} values do not make {list(declared[0])}")
    return declared[:1]


def _axis(value: int, rank: int) -> int:
    if not -rank <= value < rank:
        raise Misfit(f"axis {value} is outside of {rank} dimensions")
    return value % rank


def _concatenation(site: Site) -> list[Shape]:
    shapes = [site.shape(i) for i in range(len(site.operator.inputs))]
    axis = _axis(site.option("axis"), len(shapes[0]))
    rests = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
    if len(rests) > 1 or len({len(s) for s in shapes}) > 1:
        raise Misfit(f"{_lists(shapes)} differ beside axis {axis}")
    first = shapes[0]
    return [(*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])]


def _pad(site: Site) -> list[Shape]:
    shape, pads = site.shape(0), site.ints(1)
    if len(pads) != 2 * len(shape) or any(p < 0 for p in pads):
        raise Misfit(f"paddings {list(pads)} do not fit {len(shape)} dimensions")
    return [tuple(d + pads[2 * i] + pads[2 * i + 1] for i, d in enumerate(shape))]


def _transpose(site: Site) -> list[Shape]:
    shape, order = site.shape(0), site.ints(1)
    axes = [_axis(i, len(shape)) for i in order]
    if sorted(axes) != list(range(len(shape))):
        raise Misfit(f"{list(order)} is no order of {len(shape)} dimensions")
    return [tuple(shape[i] for i in axes)]


def _mean(site: Site) -> list[Shape]:
    shape = site.shape(0)
    axes = {_axis(i, len(shape)) for i in site.ints(1)}
    if site.option("keep_dims"):
        return [tuple(1 if i in axes else d for i, d in enumerate(shape))]
    return [tuple(d for i, d in enumerate(shape) if i not in axes)]


def _split(site: Site) -> list[Shape]:
    shape, axes, n = site.shape(1), site.ints(0), site.option("num_splits", 1)
    axis = _axis(axes[0] if len(axes) == 1 else len(shape), len(shape))
    if shape[axis] % n or n != len(site.operator.outputs):
        raise Misfit(f"{shape[axis]} values do not split into {n} outputs")
    return [(*shape[:axis], shape[axis] // n, *shape[axis + 1 :])] * n


def _strided_slice(site: Site) -> list[Shape]:
    shape = site.shape(0)
    begin, end, strides = site.ints(1), site.ints(2), site.ints(3)
    if not len(begin) == len(end) == len(strides) == len(shape):
        raise Misfit(f"begin, end and strides are not of {len(shape)} dimensions")
    if site.option("ellipsis_mask") or site.option("new_axis_mask") or site.option("offset"):
        raise Misfit("ellipsis, new axes and offsets are not supported; slice each dimension")
    found = []
    for i, (n, first, last, step) in enumerate(zip(shape, begin, end, strides, strict=True)):
        if step == 0:
            raise Misfit(f"the stride of dimension {i} is 0")
        bit = 1 << i
        if site.option("shrink_axis_mask") & bit:
            _axis(first, n)
            continue
        start = None if site.option("begin_mask") & bit else first
        stop = None if site.option("end_mask") & bit else last
        found.append(len(range(*slice(start, stop, step).indices(n))))
    return [tuple(found)]


def _resize(site: Site) -> list[Shape]:
    n, _, _, c = site.shape(0, 4)
    size = site.ints(1)
    if len(size) != 2 or min(size) < 1:
        raise Misfit(f"the new size {list(size)} is not height and width")
    return [(n, *size, c)]


#: Kind -> fewest inputs, most inputs, what the outputs must look like.
RULES: dict[str, tuple[int, int, Callable[[Site], list[Shape]]]] = {
    "CONV_2D": (2, 3, _conv),
    "DEPTHWISE_CONV_2D": (2, 3, _depthwise),
    "TRANSPOSE_CONV": (3, 4, _transpose_conv),
    "FULLY_CONNECTED": (2, 3, _dense),
    "MAX_POOL_2D": (1, 1, _pool),
    "AVERAGE_POOL_2D": (1, 1, _pool),
    "ADD": (2, 2, _broadcast),
    "SUB": (2, 2, _broadcast),
    "MUL": (2, 2, _broadcast),
    "PRELU": (2, 2, _prelu),
    "CONCATENATION": (1, 64, _concatenation),
    "PAD": (2, 2, _pad),
    "PADV2": (3, 3, _pad),
    "RESHAPE": (1, 2, _reshaped),
    "SQUEEZE": (1, 1, _reshaped),
    "EXPAND_DIMS": (2, 2, _reshaped),
    "TRANSPOSE": (2, 2, _transpose),
    "MEAN": (2, 2, _mean),
    "SPLIT": (2, 2, _split),
    "STRIDED_SLICE": (4, 4, _strided_slice),
    "RESIZE_NEAREST_NEIGHBOR": (2, 2, _resize),
}
RULES |= {
    kind: (1, 1, _same)
    for kind in (
        "SOFTMAX", "LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH",
        "QUANTIZE", "DEQUANTIZE",
    )
}  # fmt: skip
