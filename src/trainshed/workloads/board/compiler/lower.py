"""Graph to C: a function a layer, a static memory plan, a table that the firmware walks.

Every name in the C has the program's prefix, so that several programs fit into one image.
"""

from __future__ import annotations

import re
from importlib import resources

from trainshed.domain.board import Core
from trainshed.workloads.board.compiler.entry import Constants, Site, Unsupported
from trainshed.workloads.board.compiler.plan_memory import Plan, plan
from trainshed.workloads.board.compiler.program import Layer, Port, Program
from trainshed.workloads.board.compiler.registry import entry_of, refusal
from trainshed.workloads.board.model.graph import Graph, Operator

__all__ = ["Unsupported", "compile_graph"]

_INCLUDE = re.compile(rb'^#include "([^"]+)"', re.MULTILINE)


def compile_graph(graph: Graph, core: Core, prefix: str = "") -> Program:
    """Return the C of a graph. ``prefix``: in front of each C name and generated file's name.

    Raises:
        Unsupported: an operator cannot be compiled.
    """
    for operator in graph.operators:
        reason = refusal(graph, operator)
        if reason is not None:
            raise Unsupported(operator.index, reason)
    made = plan(graph, core)
    constants = Constants(prefix)
    layers: list[Layer] = []
    functions: list[str] = []
    headers = {"base.h", "model.h"}
    for operator in graph.operators:
        entry = entry_of(graph, operator)
        assert entry is not None
        if entry.alias and _same_place(operator, made):
            continue
        site = _site(graph, core, operator, made, constants, prefix, len(layers))
        code = entry.emit(site)
        headers.update(code.headers)
        functions.append(
            f"__attribute__((noinline)) void {site.symbol}(void)\n{{\n{code.body.rstrip()}\n}}\n"
        )
        layers.append(
            Layer(
                position=len(layers), operator=operator.index, kind=operator.kind,
                symbol=site.symbol, macs=code.macs, weight_bytes=site.weight_bytes,
                streamed_bytes=code.streamed_bytes,
                input_bytes=sum(graph.tensors[t].n_bytes for t in _dynamic(graph, operator)),
                output_bytes=sum(graph.tensors[t].n_bytes for t in operator.outputs),
                weight_symbols=tuple(site.symbols),
            )
        )  # fmt: skip
    ports = _Ports(graph, made, layers)
    text = _model(prefix, made, constants, functions, layers, ports, sorted(headers))
    sources = _kernels(headers) | {f"{prefix}model.c": text.encode()}
    if constants.blob:
        sources[f"{prefix}weights.bin"] = bytes(constants.blob)
    return Program(
        sources, tuple(layers), ports.inputs, ports.outputs, ports.results, made.arena_bytes,
        max((n for _, n in made.scratch.values()), default=0),
    )  # fmt: skip


class _Ports:
    """Where the inputs, outputs and each layer's first output lie."""

    def __init__(self, graph: Graph, made: Plan, layers: list[Layer]) -> None:
        def port(tensor: int) -> Port:
            return Port(tensor, made.offsets[tensor], graph.tensors[tensor].n_bytes)

        self.inputs = tuple(port(t) for t in graph.inputs)
        self.outputs = tuple(port(t) for t in graph.outputs)
        outputs_of = {operator.index: operator.outputs[0] for operator in graph.operators}
        self.results = tuple(port(outputs_of[layer.operator]) for layer in layers)


def _site(
    graph: Graph, core: Core, operator: Operator, made: Plan, constants: Constants, prefix: str,
    position: int,
) -> Site:  # fmt: skip
    offset, _ = made.scratch.get(operator.index, (0, 0))
    return Site(
        graph, operator, core, f"{prefix}layer_{position:02d}_{operator.kind.lower()}",
        f"{prefix}arena", dict(made.offsets), offset, constants,
    )  # fmt: skip


def _same_place(operator: Operator, made: Plan) -> bool:
    source, target = operator.inputs[0], operator.outputs[0]
    return made.offsets.get(source) == made.offsets[target]


def _dynamic(graph: Graph, operator: Operator) -> list[int]:
    return [t for t in operator.inputs if t >= 0 and graph.tensors[t].data is None]


def _kernels(wanted: set[str]) -> dict[str, bytes]:
    """The headers and what they include."""
    folder = resources.files("trainshed.workloads.board.compiler") / "kernels"
    found: dict[str, bytes] = {}
    queue = sorted(wanted)
    while queue:
        name = queue.pop()
        if name not in found:
            found[name] = (folder / name).read_bytes()
            queue.extend(match.decode() for match in _INCLUDE.findall(found[name]))
    return found


def _model(
    prefix: str, made: Plan, constants: Constants, functions: list[str], layers: list[Layer],
    ports: _Ports, headers: list[str],
) -> str:  # fmt: skip
    includes = "\n".join(f'#include "{name}"' for name in headers)
    # A kernel may read a whole word at the end of the last tensor.
    arena = (
        f"int8_t {prefix}arena[{max(made.arena_bytes, 16)} + 4] __attribute__((aligned(16)));\n"
        f"static uint32_t {prefix}ticks[{len(layers) + 1}];"
    )
    table = "\n".join(
        (
            _array(f"void (*const {prefix}layers[])(void)", [x.symbol for x in layers]),
            _array(f"const struct port {prefix}inputs[]", _pairs(ports.inputs)),
            _array(f"const struct port {prefix}outputs[]", _pairs(ports.outputs)),
            _array(f"const struct port {prefix}results[]", _pairs(ports.results)),
            f"const struct model {prefix}model = {{",
            f"    {prefix}arena, {prefix}ticks, {len(layers)}, {len(ports.inputs)}, "
            f"{len(ports.outputs)},",
            f"    {prefix}layers, {prefix}inputs, {prefix}outputs, {prefix}results",
            "};",
        )
    )
    parts = [includes, arena, *constants.text, *functions, table]
    return "\n".join(parts) + "\n"


def _pairs(ports: tuple[Port, ...]) -> list[str]:
    return [f"{{{p.offset}, {p.n_bytes}}}" for p in ports]


def _array(head: str, items: list[str]) -> str:
    return f"static {head} = {{{', '.join(items) or '0'}}};"
