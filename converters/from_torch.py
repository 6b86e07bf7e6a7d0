"""A torch module as a float graph, by `torch.export`.

The exported program is walked operator by operator (`aten.py`). Whatever does not depend on the input is computed
once; whatever only moves channels about is followed by index; the rest is an operation of the float graph, or refused
together with everything else that is.
"""

from __future__ import annotations

import math
import operator
import warnings
from typing import TYPE_CHECKING, Any

from snngen import __version__
from snngen.converters.graph import Graph
from snngen.converters.operations import Pointwise
from snngen.converters.torch import aten as _handlers  # noqa: F401  what operators become
from snngen.converters.torch import quantized as torch_quantized
from snngen.converters.torch.simplify import simplify
from snngen.converters.torch.walk import Refusal, Unusable, Value, Walk, integer_types
from snngen.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}  # of a picture that ends in this function


def from_torch(
    module: torch.nn.Module,
    example: torch.Tensor,
    output: int | None = None,
    picture: tuple[int, int, int] | None = None,
    picture_range: tuple[float, float] | None = None,
) -> Graph:
    """The float graph of a module in evaluation mode; it equals the module but for float32's rounding.

    module: is left as it is. torchao's and brevitas' quantized layers hand over their integers and scales.
    example: what it takes: (batch, channels); (batch, channels, height, width); (batch, tokens, channels) of what runs
    over time; (batch, tokens) integers of token models. Only shape and dtype matter; batch sizes may differ later.
    output: which result to keep, of a module that gives several tensors.
    picture: (channels, height, width) of the result; taken from its shape where that has four dimensions.
    picture_range: that its values lie in; from the last function (sigmoid, tanh), else 0..1.
    raises: UnsupportedError that names every layer, operator and what would be needed, before any work is done.
    """
    import torch

    if not isinstance(example, torch.Tensor) or example.numel() == 0:
        raise UnsupportedError("example", type(example).__name__, "one tensor with values", "Wrap several into one")
    plain = torch_quantized.plain(module)
    program = _export(plain.module, example)
    graph, leading = _entry(program, example)
    walk = Walk(graph, leading, plain.integers)
    walk.complaints += plain.complaints
    result = _walk(program, walk, output)
    if walk.complaints:
        raise UnsupportedError(
            type(module).__name__,
            "; ".join(dict.fromkeys(walk.complaints)),
            "operators that the float graph has",
            "Replace these layers, or add the operation (CONTRIBUTING.md)",
        )
    graph.notes += [*plain.notes, *dict.fromkeys(walk.notes)]
    graph.provenance = {"source": f"torch module {type(module).__name__}", "format": "torch.export"}
    graph.provenance |= {"torch": torch.__version__, "reader": __version__}
    simplify(graph, result.parts[0])
    if picture is None and len(result.channels) == 3:
        picture = (result.channels[0], result.channels[1], result.channels[2])
    if picture is not None and math.prod(picture) != result.width:
        raise UnsupportedError("picture", str(picture), f"a shape of {result.width} values, the module's result")
    last = graph.nodes[-1].operation
    graph.picture = picture
    graph.picture_range = picture_range or RANGES.get(last.function if isinstance(last, Pointwise) else "", (0.0, 1.0))
    return graph


def _export(module: torch.nn.Module, example: torch.Tensor) -> Any:
    """The functional ATen program of a module; a batch of one is doubled, so that it is told from other dimensions.

    raises: UnsupportedError where torch cannot export it.
    """
    import torch

    batches = [example] if example.ndim == 0 or example.shape[0] > 1 else [torch.cat((example, example)), example]
    for index, batch in enumerate(batches):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own making: nothing that the module's owner can mend
            try:
                return torch.export.export(module, (batch.detach(),), strict=False).run_decompositions({})
            except Exception as error:  # whatever the module's own code raises
                if index == len(batches) - 1:
                    raise UnsupportedError(
                        type(module).__name__,
                        f"torch.export: {type(error).__name__}: {error!s:.400}",
                        "a module that runs on the example and can be exported",
                        "See what torch.export.export(module, (example,)) says",
                    ) from error
    raise AssertionError("unreachable")


def _entry(program: Any, example: torch.Tensor) -> tuple[Graph, tuple[int, ...]]:
    """An empty graph for the input of a program, and the sizes of the input's batch and token dimensions."""
    (name,) = program.graph_signature.user_inputs
    (node,) = (node for node in program.graph.nodes if node.name == name)
    shape = tuple(node.meta["val"].shape)
    if example.dtype.is_floating_point:
        if not 2 <= len(shape) <= 4:
            expected = "(batch, channels), (batch, tokens, channels) or (batch, channels, height, width)"
            raise UnsupportedError("example", f"shape {tuple(example.shape)}", expected)
        leading = shape[:2] if len(shape) == 3 else shape[:1]
        return Graph(0, None, channels=math.prod(shape[len(leading) :])), leading
    if example.dtype not in integer_types() or len(shape) != 2:
        got = f"shape {tuple(example.shape)} of {example.dtype}"
        raise UnsupportedError("example", got, "floats, or (batch, tokens) integers")
    return Graph(1, None), shape  # the embedding tells the vocabulary


def _walk(program: Any, walk: Walk, output: int | None) -> Value:
    """Build the graph of a program node by node; complaints are collected in the walk. Returns the result."""
    signature = program.graph_signature
    constants = {**program.state_dict, **program.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    for buffer in signature.buffers_to_mutate.values():
        walk.complaints.append(f"{buffer}: a buffer that changes while the module runs (state: use LSTM, GRU or RNN)")
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            walk.values[node] = constants[names[node.name]].detach()
            walk.parameters[node] = names[node.name]
        elif node.op == "placeholder" and node.name in signature.user_inputs:
            shape = tuple(node.meta["val"].shape)
            walk.values[node] = Value((walk.graph.entry,), shape, walk.leading)
        elif node.op == "call_function" and node.target is operator.getitem:
            walk.values[node] = walk.values[node.args[0]][node.args[1]]
        elif node.op == "call_function":
            walk.call(node)
        elif node.op != "output":
            walk.complaints.append(f"{node.name}: {node.op} (a plain call)")
    return _result(program, walk, output)


def _result(program: Any, walk: Walk, output: int | None) -> Value:
    """The tensor of the results that is asked for, as a value of one node of the graph."""
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    mutated = len(program.graph_signature.buffers_to_mutate)
    results = list(last.args[0])[mutated:]
    if len(results) != 1 and (output is None or not 0 <= output < len(results)):
        where, got = "output", f"{len(results)} results, output={output}"
        raise UnsupportedError(where, got, f"one of 0..{len(results) - 1}", "from_torch(module, example, output=0)")
    node = results[0 if len(results) == 1 else output or 0]
    value = walk.values.get(node)
    if isinstance(value, Unusable):
        walk.complaints.append(f"result: {value.reason}")
    if not isinstance(value, Value):
        walk.complaints.append("result: does not depend on the input")
        return Value((walk.graph.entry,), (), ())
    try:
        return walk.whole(value) if value.parts != (walk.graph.entry,) else walk.copied(value)
    except Refusal as refusal:
        walk.complaints.append(f"result: {refusal}")
        return value
