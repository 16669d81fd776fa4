"""Real post-training quantisation to int8, by ai-edge-quantizer (the optional extra ``quantize``).

It needs ranges of all activations, so it runs the float model on a calibration set. How far the
result is from the float model is measured with the reference, on the same samples.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainshed.workloads.board.check.calibration import Shape, Unfit, names_of
from trainshed.workloads.board.check.quantized import (
    ALREADY_INT8,
    NOT_INSTALLED,
    SYNTHESISED,
    is_available,
)
from trainshed.workloads.board.model.graph import DType, Graph, Tensor
from trainshed.workloads.board.model.reader import read
from trainshed.workloads.board.model.rewrite import portable
from trainshed.workloads.board.oracle import run_reference

MAX_CALIBRATION_BYTES = 256 * 2**20
#: As many samples are compared with the float model.
MAX_COMPARED = 100
_SYNTHESISED_SAMPLES = 32
_SIGNATURE = "serving_default"
_IDENTIFIER = b"TFL3"

#: What reading a broken or hostile archive raises.
_BAD_ARCHIVE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Array = np.ndarray[Any, Any]
#: One value per model input, as the input's shape says.
Sample = tuple[Array, ...]


class QuantizeFailed(Exception):
    """The model or the calibration set cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The quantised model against the float one, over all outputs of ``n_samples``.

    ``cosine``: mean of the samples' similarity, 1 is the same. ``top1``: how often the first
    output's largest value is at the same place, None where it has one value only.
    ``basis``: ``calibration`` or ``synthesised``.
    """

    max_abs_error: float
    mean_abs_error: float
    cosine: float
    top1: float | None
    n_samples: int
    basis: str


@dataclass(frozen=True, slots=True)
class Quantized:
    """The int8 file, how it compares, and what to tell the user."""

    model: bytes
    accuracy: Accuracy
    warnings: tuple[str, ...]


def quantize(model: bytes, calibration: bytes | None = None, seed: int = 0) -> Quantized:
    """Return the model with int8 weights, activations, inputs and outputs.

    ``calibration``: an ``.npz`` with an array per model input, samples along the first dimension,
    named as the input (or ``input_0`` …; one array for one input may have any name). Without it the
    samples are drawn from ``seed``.

    Raises:
        BadModel: as `read`.
        QuantizeFailed: it is quantised already, the set does not fit, the quantiser refuses.
        ReferenceFailed: the reference cannot run the float model or the result.
    """
    if not is_available():
        raise QuantizeFailed(NOT_INSTALLED.message)
    graph = read(model)
    if any(t.dtype == DType.INT8 for t in graph.tensors):
        raise QuantizeFailed(ALREADY_INT8.message)
    for index in graph.inputs:
        if graph.tensors[index].dtype != DType.FLOAT32:
            raise QuantizeFailed(f"Input {graph.tensors[index].name!r} is not float32.")
    samples = _synthesise(graph, seed) if calibration is None else _load(graph, calibration)
    made = portable(_quantize(_signed(model), samples))
    basis = "synthesised" if calibration is None else "calibration"
    notes = (SYNTHESISED.message,) if calibration is None else ()
    return Quantized(made, compare(model, made, samples[:MAX_COMPARED], basis), notes)


def compare(model: bytes, quantized: bytes, samples: Sequence[Sample], basis: str) -> Accuracy:
    """Return how far the quantised model's outputs are from the float model's."""
    float_graph, int8_graph = read(model), read(quantized)
    wanted = _outputs(float_graph, run_reference(model, [_stored(float_graph, s) for s in samples]))
    got = _outputs(int8_graph, run_reference(quantized, [_stored(int8_graph, s) for s in samples]))
    errors = np.abs(wanted - got)
    norms = np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1)
    dots = np.sum(wanted * got, axis=1)
    cosine = np.divide(dots, norms, out=np.ones_like(dots), where=norms > 0)
    n = float_graph.tensors[float_graph.outputs[0]].n_elements
    same = np.argmax(wanted[:, :n], axis=1) == np.argmax(got[:, :n], axis=1)
    return Accuracy(
        float(errors.max()), float(errors.mean()), float(cosine.mean()),
        float(same.mean()) if n > 1 else None, len(samples), basis,
    )  # fmt: skip


def _stored(graph: Graph, sample: Sample) -> tuple[bytes, ...]:
    """Return a sample as the bytes that the model's inputs take."""
    pairs = zip(graph.inputs, sample, strict=True)
    return tuple(_encode(graph.tensors[index], value) for index, value in pairs)


def _encode(tensor: Tensor, value: Array) -> bytes:
    if tensor.dtype == DType.FLOAT32:
        return value.astype("<f4").tobytes()
    if tensor.dtype != DType.INT8 or tensor.quant is None:
        raise QuantizeFailed(f"The quantiser left input {tensor.name!r} as {tensor.dtype}.")
    steps = np.round(value / tensor.quant.scales[0]) + tensor.quant.zero_points[0]
    return np.clip(steps, -128, 127).astype("i1").tobytes()


def _outputs(graph: Graph, results: Sequence[Sequence[bytes]]) -> Array:
    """Return samples × values, all outputs side by side, as real numbers."""
    return np.array([
        np.concatenate([
            _decode(graph.tensors[index], data)
            for index, data in zip(graph.outputs, one, strict=True)
        ])
        for one in results
    ])  # fmt: skip


def _decode(tensor: Tensor, data: bytes) -> Array:
    if tensor.dtype != DType.INT8 or tensor.quant is None:
        return np.frombuffer(data, "<f4").astype("f8")
    steps = np.frombuffer(data, "i1").astype("f8") - tensor.quant.zero_points[0]
    return steps * tensor.quant.scales[0]


def _synthesise(graph: Graph, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    shapes = [graph.tensors[i].shape for i in graph.inputs]
    return [
        tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        for _ in range(_SYNTHESISED_SAMPLES)
    ]


def _load(graph: Graph, calibration: bytes) -> list[Sample]:
    arrays = _arrays(calibration)
    shapes = {name: Shape(one.dtype.kind, one.shape) for name, one in arrays.items()}
    try:
        names = names_of(graph, shapes)
    except Unfit as error:
        raise QuantizeFailed(str(error)) from error
    inputs = zip(graph.inputs, names, strict=True)
    columns = [_column(graph.tensors[index], name, arrays[name]) for index, name in inputs]
    return list(zip(*columns, strict=True))


def _arrays(calibration: bytes) -> Mapping[str, Array]:
    """Return the arrays of the file; nothing in it is executed, and it may not swell."""
    try:
        with zipfile.ZipFile(io.BytesIO(calibration)) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
        if n_bytes > MAX_CALIBRATION_BYTES:
            raise QuantizeFailed(
                f"The calibration set unpacks to {n_bytes} bytes; at most {MAX_CALIBRATION_BYTES} "
                "are taken. Fewer samples do: 100 are usually enough."
            )
        with np.load(io.BytesIO(calibration), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            if not all(isinstance(one, np.ndarray) for one in found.values()):
                raise ValueError("a file in it is no array")
            return found
    except _BAD_ARCHIVE as error:
        raise QuantizeFailed(
            f"The calibration set is no .npz of plain numbers ({error}). Write it with "
            "numpy.savez(path, NAME=array)."
        ) from error


def _column(tensor: Tensor, name: str, array: Array) -> list[Array]:
    """Return the samples of one input, each of the input's shape."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise QuantizeFailed(f"The calibration array {name!r} holds numbers that are not finite.")
    return [one.reshape(tensor.shape) for one in array]


def _signed(model: bytes) -> bytes:
    """Return the model with the one signature that the quantiser asks for."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(portable(model), 0)
    graph = tree.subgraphs[0]
    for tensor in graph.tensors:
        tensor.shapeSignature = None
    signature = schema.SignatureDefT()
    signature.signatureKey = _SIGNATURE.encode()
    signature.subgraphIndex = 0
    for role in ("input", "output"):
        entries = []
        for position, index in enumerate(getattr(graph, f"{role}s")):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{role}_{position}".encode(), int(index)
            entries.append(entry)
        setattr(signature, f"{role}s", entries)
    tree.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _quantize(model: bytes, samples: Sequence[Sample]) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    try:
        with warnings.catch_warnings():  # it warns of how it uses its own interpreter
            warnings.simplefilter("ignore")
            worker = quantizer.Quantizer(bytearray(model))
            worker.load_quantization_recipe(recipe.static_wi8_ai8())
            return bytes(worker.quantize(_ranges(worker, samples)).quantized_model)
    except Exception as error:  # whatever the library dislikes of a stranger's model
        raise QuantizeFailed(
            f"ai-edge-quantizer cannot quantise this model: {str(error)[:500]}"
        ) from error


def _ranges(worker: Any, samples: Sequence[Sample]) -> dict[str, dict[str, Array]]:
    """Return tensor name -> smallest and largest value over all samples.

    Given all at once, the library takes moving averages, which clips whatever is not usual: each
    sample is asked for alone.
    """
    found: dict[str, dict[str, Array]] = {}
    for sample in samples:
        named = {f"input_{i}": value for i, value in enumerate(sample)}
        for name, one in worker.calibrate({_SIGNATURE: [named]}, num_threads=1).items():
            kept = found.setdefault(name, one)
            if "min" in one:
                kept["min"] = np.minimum(kept["min"], one["min"])
                kept["max"] = np.maximum(kept["max"], one["max"])
    return found
