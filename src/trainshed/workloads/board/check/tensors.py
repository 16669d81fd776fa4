"""What a tensor must be for any kernel to take it."""

from __future__ import annotations

from trainshed.workloads.board.model.graph import DType, Tensor

_MAX_NAME = 60
_LOW, _HIGH = -128, 127
#: Of computed tensors: so far apart that no product or ratio of scales leaves float32.
_SMALLEST, _LARGEST = 2.0**-40, 2.0**40
_TYPES = {
    DType.FLOAT16: "is float16; convert without float16 quantisation, or quantise to int8",
    DType.UINT8: "has the old uint8 quantisation; quantise again to int8",
    DType.INT16: "is int16; quantise to int8 weights and activations",
    DType.OTHER: "has a type that no kernel takes; use float32 or full int8 quantisation",
}


def name_of(tensor: Tensor) -> str:
    """Return the tensor in words: its index and the start of its name."""
    return f"tensor {tensor.index} ({tensor.name[:_MAX_NAME]!r})"


def unusual(tensor: Tensor) -> str | None:
    """Return what to do about a type that few kernels take, as the end of a sentence."""
    return _TYPES.get(tensor.dtype)


def check_tensor(tensor: Tensor) -> str | None:
    """Return what is wrong with the tensor and what to do, as the end of a sentence."""
    if tensor.variable:
        return "is a variable; models that keep state are not supported"
    if not tensor.n_elements and tensor.data is None:
        return f"is empty: its shape is {list(tensor.shape)}; convert with fixed shapes"
    return _scales(tensor) if tensor.dtype == DType.INT8 else None


def _scales(tensor: Tensor) -> str | None:
    if tensor.quant is None:
        return "is int8 without a scale; quantise the model again"
    if not all(_LOW <= z <= _HIGH for z in tensor.quant.zero_points):
        return f"has a zero point outside of {_LOW} to {_HIGH}"
    if not all(s > 0 for s in tensor.quant.scales):
        return "has a scale of 0"
    smallest = _SMALLEST if tensor.data is None else 0.0
    if not all(smallest <= s <= _LARGEST for s in tensor.quant.scales):
        return "has a scale that no kernel can work with; quantise the model again"
    if len(tensor.quant.scales) > 1 and tensor.data is None:
        return "is computed, but has more than one scale"
    return None
