"""Whether a model can run on a board, and what it needs, before anything is built.

What the operators can do is asked of the compiler itself, so what is called valid here compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trainshed.domain.board import Board, Estimate, Finding, Report
from trainshed.workloads.board.check.shapes import Misfit, check_shapes
from trainshed.workloads.board.check.tensors import check_tensor, name_of, unusual
from trainshed.workloads.board.compiler.lower import Unsupported, compile_graph
from trainshed.workloads.board.compiler.plan_memory import plan
from trainshed.workloads.board.compiler.program import Program
from trainshed.workloads.board.compiler.registry import entries, refusal
from trainshed.workloads.board.model.graph import DType, Graph, Operator, Tensor

#: The least that start-up, libc and the kernels take in flash, and each layer of them.
BASE_CODE_BYTES = 1536
LAYER_CODE_BYTES = 256
MAX_OPERATORS = 600
#: What the memory plan can place within a second.
MAX_TENSORS = 2000
#: Weights of so many times the flash are not compiled to see by how much they are too large.
FAR_TOO_LARGE = 4
#: An emulator takes seconds for as many, and can time no more exactly (``target/qemu.py``).
MAX_MACS = 500_000_000
#: Of a multiply-accumulate in float32 without a floating-point unit, as counted on a Cortex-M0+.
SOFT_FLOAT_INSTRUCTIONS = 155
#: The emulated timers end somewhat above this.
MANY_INSTRUCTIONS = 1_000_000_000
MAX_FINDINGS = 20
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_CONTROL = ("IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE")
_STATEFUL = (
    "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "RNN", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "VAR_HANDLE", "READ_VARIABLE",
    "ASSIGN_VARIABLE",
)  # fmt: skip


def check(graph: Graph, board: Board) -> Report:
    """Return what stands in the way, and what the model needs where nothing does.

    A model that needs too much still gets its estimate, so that both numbers can be shown.
    """
    errors = first(check_whole(graph)) or first(_each(graph))
    if errors:
        return Report(errors, (), None)
    arena = plan(graph, board.core).arena_bytes
    too_large = check_ram(arena, board)
    if too_large is not None:
        flash = sum(len(t.data or b"") for t in graph.tensors)
        return Report((too_large,), (), Estimate(arena, flash, None, len(graph.operators)))
    least = _least_weights(graph)
    if least > FAR_TOO_LARGE * board.memory.flash_bytes:
        found = tuple(f for f in (check_flash(least, board),) if f)
        return Report(found, (), Estimate(arena, least, None, len(graph.operators)))
    try:
        program = compile_graph(graph, board.core)
    except Unsupported as no:
        return Report((refused(graph, no.operator, str(no)),), (), None)
    needs = Estimate(arena, flash_bytes(program), macs(program), len(graph.operators))
    found = tuple(f for f in (check_flash(needs.flash_bytes, board), _work(program)) if f)
    return Report(found, tuple(_notable(graph, board, macs(program))), needs)


def first(findings: Iterator[Finding]) -> tuple[Finding, ...]:
    """Return the first findings; a broken model may have thousands."""
    return tuple(finding for finding, _ in zip(findings, range(MAX_FINDINGS), strict=False))


def flash_bytes(program: Program) -> int:
    """Return the least that a program takes in flash: weights as compiled, and code."""
    weights = sum(layer.weight_bytes for layer in program.layers)
    return weights + BASE_CODE_BYTES + LAYER_CODE_BYTES * len(program.layers)


def macs(program: Program) -> int:
    """Return the multiply-accumulates of one inference."""
    return sum(layer.macs for layer in program.layers)


def check_ram(arena: int, board: Board) -> Finding | None:
    """Return the error of an arena that the board has no room for."""
    if arena <= board.max_arena_bytes:
        return None
    return Finding(
        "arena_too_large",
        f"The model needs {size(arena, board.max_arena_bytes)} of RAM for the tensor arena; "
        f"{board.name} has {size(board.max_arena_bytes, arena)} for it. Use a smaller input, "
        "fewer channels in the first layers, or a board with more RAM.",
    )


def check_flash(needed: int, board: Board) -> Finding | None:
    """Return the error of a program that the board has no room for."""
    there = board.memory.flash_bytes
    if needed <= there:
        return None
    return Finding(
        "flash_too_large",
        f"The model needs at least {size(needed, there)} of flash for weights and code; "
        f"{board.name} has {size(there, needed)}. Quantise to int8, use fewer channels, or a "
        "board with more flash.",
    )


def _work(program: Program) -> Finding | None:
    """Return the error of a program that does nothing, or more than can be emulated."""
    if not program.layers:
        return Finding(
            "empty_model", "No operator of the model computes anything, so nothing would run."
        )
    if macs(program) <= MAX_MACS:
        return None
    return Finding(
        "too_long",
        f"One inference takes {macs(program) / 1e6:,.0f} million multiply-accumulates; at most "
        f"{MAX_MACS / 1e6:,.0f} million are emulated. Use a smaller input or fewer channels.",
    )


def size(n: int, other: int) -> str:
    """Return bytes in words: in KB, exact where ``other`` would look the same."""
    text = f"{n / 1024:.1f} KB"
    return text if text != f"{other / 1024:.1f} KB" else f"{n} bytes"


def _least_weights(graph: Graph) -> int:
    """Return the least that weights take: each layer has its own, in its kernel's order."""
    return sum(
        len(graph.tensors[t].data or b"")
        for op in graph.operators
        if op.kind in _WEIGHTED
        for t in op.inputs
        if t >= 0
    )


def check_whole(graph: Graph) -> Iterator[Finding]:
    """What is wrong with the model as a whole; the rest makes no sense then."""
    if not graph.operators or not graph.inputs or not graph.outputs:
        yield Finding("empty_model", "The model has no operators, no input or no output.")
    if len(graph.operators) > MAX_OPERATORS:
        yield Finding(
            "too_many_operators",
            f"The model has {len(graph.operators)} operators; at most {MAX_OPERATORS} are taken.",
        )
    n = len(graph.inputs) + sum(len(op.outputs) for op in graph.operators)
    if n > MAX_TENSORS:
        yield Finding(
            "too_many_tensors", f"The model computes {n} tensors; at most {MAX_TENSORS} are taken."
        )
    hybrid = [op for op in graph.operators if _is_hybrid(graph, op)]
    if hybrid:
        yield Finding(
            "hybrid_model",
            f"This is a hybrid model: {hybrid[0].kind} {hybrid[0].index} has int8 weights but "
            "float32 inputs, which no microcontroller kernel takes. Quantise the float model "
            "fully to int8 (weights and activations, with a calibration set), or send the float32 "
            "model itself.", hybrid[0].index,
        )  # fmt: skip


def _is_hybrid(graph: Graph, op: Operator) -> bool:
    if op.kind not in _WEIGHTED or len(op.inputs) < 2:
        return False
    data, weights = (2, 1) if op.kind == "TRANSPOSE_CONV" else (0, 1)
    if max(data, weights) >= len(op.inputs) or -1 in (op.inputs[data], op.inputs[weights]):
        return False
    return (graph.tensors[op.inputs[data]].dtype, graph.tensors[op.inputs[weights]].dtype) == (
        DType.FLOAT32,
        DType.INT8,
    )


def _each(graph: Graph) -> Iterator[Finding]:
    for op in graph.operators:
        reason = _operator(graph, op)
        if reason is not None:
            yield refused(graph, op.index, reason)
    for t in graph.inputs:
        if graph.tensors[t].dtype in (DType.FLOAT16, DType.OTHER):
            text = f"Input {name_of(graph.tensors[t])} {unusual(graph.tensors[t])}."
            yield Finding("input_not_supported", text)
    made = {t for op in graph.operators for t in op.outputs}
    for t in graph.outputs:
        if t not in made:
            yield Finding(
                "output_not_computed",
                f"Output {name_of(graph.tensors[t])} is no operator's result.",
            )


def refused(graph: Graph, index: int, reason: str) -> Finding:
    """Return the error of an operator: which, what of it, and why."""
    op = graph.operators[index]
    at = f", output {name_of(graph.tensors[op.outputs[0]])}" if op.outputs else ""
    text = f"Operator {index}, {op.kind} version {op.version}{at}: {reason}"
    return Finding("operator_not_supported", text if text.endswith(".") else f"{text}.", index)


def _operator(graph: Graph, op: Operator) -> str | None:
    """Return why an operator cannot run, and what to do."""
    return unknown(op) or check_parts(graph, op) or refusal(graph, op)


def check_parts(graph: Graph, op: Operator) -> str | None:
    """Return what is wrong with an operator's tensors and options, whatever can be compiled."""
    odd = None if op.kind in _CONVERSIONS else _of_tensors(graph, op, unusual)
    return odd or _of_tensors(graph, op, check_tensor) or _fits(graph, op)


def unknown(op: Operator) -> str | None:
    """Return what to do about an operator of a kind that cannot be compiled."""
    if op.kind in entries():
        return None
    if op.kind in _CONTROL:
        return "control flow cannot run; unroll it, so that one subgraph is left"
    if op.kind in _STATEFUL:
        return (
            "recurrent operators and variables are not supported; unroll the recurrence in the "
            "converter, or use convolutions over time"
        )
    if op.kind.startswith("CUSTOM:"):
        return "custom operators are not supported; convert without custom ops and Flex delegates"
    return f"not supported; supported are {', '.join(sorted(entries()))}"


def _of_tensors(graph: Graph, op: Operator, look: Callable[[Tensor], str | None]) -> str | None:
    for t in (*op.inputs, *op.outputs):
        reason = look(graph.tensors[t]) if t >= 0 else None
        if reason is not None:
            return f"{name_of(graph.tensors[t])} {reason}"
    return None


def _fits(graph: Graph, op: Operator) -> str | None:
    try:
        check_shapes(graph, op)
    except Misfit as misfit:
        return str(misfit)
    return None


def _notable(graph: Graph, board: Board, n_macs: int) -> Iterator[Finding]:
    types = {graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)}
    if DType.FLOAT32 in types and any(t.dtype == DType.INT8 for t in graph.tensors):
        yield Finding(
            "float_interface",
            "Inputs or outputs are float32 around an int8 model, which costs a conversion in each "
            "inference; convert with int8 inputs and outputs.",
        )
    elif DType.FLOAT32 in types:
        yield Finding(
            "float_model",
            "This is a float32 model. Quantised to int8 it needs about a quarter of the memory and "
            "is several times faster; see quantize." + _soft_float(board, n_macs),
        )


def _soft_float(board: Board, n_macs: int) -> str:
    """Return what float32 costs where each operation is a call of the compiler's library."""
    if board.core.fpu:
        return ""
    instructions = n_macs * SOFT_FLOAT_INSTRUCTIONS
    text = f" {board.name} has no floating-point unit, so an inference takes about"
    text += f" {instructions / 1e6:,.0f} million instructions"
    if instructions < MANY_INSTRUCTIONS:
        return text + "."
    return (
        text + ", which may be more than can be emulated: the request then fails and takes its run."
    )
