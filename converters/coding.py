"""Coding: what each value of a float graph is coded as, and with how many levels."""

from __future__ import annotations

import numpy as np

from snngen.converters.graph import BEFORE, Graph, Node
from snngen.converters.operations import (
    ACTIVATIONS,
    Add,
    Attention,
    Convolution,
    Embedding,
    Gate,
    GroupNorm,
    Linear,
    Pointwise,
    Position,
    Products,
    RMSNorm,
    Rotary,
    Scale,
    StateRead,
    StateUpdate,
)
from snngen.converters.settings import STATE_HIGH, Settings

# Roles whose codes pass no weight: they may have more bits at no synaptic cost, and need no choice of range.
WIDE_ROLES = ("unturned", "gate_in", "gate_value", "wide", "state", "state_read")
ELEMENTWISE = (Gate, GroupNorm, Pointwise, Products, RMSNorm, Rotary, Scale, StateUpdate)


def role(graph: Graph, node: Node) -> str | None:
    """What the value of a node is coded as, or None for potentials (the residual stream, the logits).

    A role groups the nodes whose ranges are chosen together.
    """
    readers, operation = graph.consumers(node.name), node.operation
    if isinstance(operation, Add | Embedding | Position):
        return None
    if not readers:
        return _result_role(graph, node)
    first = readers[0]
    if isinstance(operation, Rotary | Scale) and isinstance(first.operation, Attention):
        return ("query", "key", "value")[first.inputs.index(node.name)]
    if isinstance(operation, Linear | Convolution) and (sums(graph, node) or folded(graph, node)):
        return None
    if isinstance(operation, Pointwise) and bounded(operation.function):
        return "bounded"
    if isinstance(operation, StateUpdate) or _kept(graph, node):
        return "state"
    if any(isinstance(reader.operation, StateRead) and reader.inputs[1] == node.name for reader in readers):
        return "state_read"
    return _role_by_readers(graph, node, readers)


def _role_by_readers(graph: Graph, node: Node, readers: list[Node]) -> str:
    first, operation = readers[0], node.operation
    if isinstance(first.operation, Rotary):
        return "unturned"
    if isinstance(operation, Linear | Scale | Products) and tabled(graph, node):
        return "gate_in"
    if all(isinstance(reader.operation, ELEMENTWISE) for reader in readers):
        if isinstance(first.operation, Gate):
            return "gate_value"
        if not isinstance(operation, RMSNorm | Gate | Attention):
            return "wide"
    if isinstance(operation, Linear | Convolution) and isinstance(first.operation, Attention):
        return "value"
    return type(operation).__name__.lower()


def _result_role(graph: Graph, node: Node) -> str | None:
    """A result that a threshold has rounded is a code; sums stay potentials."""
    operation = node.operation
    if isinstance(operation, Linear | Convolution):
        return None
    if isinstance(operation, Pointwise) and bounded(operation.function):
        return "bounded"
    return "result"


def sums(graph: Graph, node: Node) -> bool:
    """True where all that a value does is to drive the residual stream."""
    readers = graph.consumers(node.name)
    return all(isinstance(reader.operation, Add) and node.name in reader.inputs for reader in readers)


def _kept(graph: Graph, node: Node) -> bool:
    """True for a gated sum that reads itself one token later: the cell of an LSTM."""
    return isinstance(node.operation, Products) and BEFORE + node.name in node.inputs and not _weighed(graph, node)


def _weighed(graph: Graph, node: Node) -> bool:
    return any(isinstance(reader.operation, Linear | Convolution) for reader in graph.consumers(node.name))


def tabled(graph: Graph, node: Node) -> bool:
    """True where all readers look the value up in a table: its channels share a unit."""
    readers = graph.consumers(node.name)
    return bool(readers) and all(
        isinstance(reader.operation, Pointwise)
        or (isinstance(reader.operation, Gate) and reader.inputs[0] == node.name != reader.inputs[1])
        for reader in readers
    )


def folded(graph: Graph, node: Node) -> bool:
    """True for a linear map that a ReLU alone reads: the threshold of the map is the ReLU, with low = 0."""
    if not isinstance(node.operation, Linear | Convolution) or node.codes is not None:
        return False
    readers = graph.consumers(node.name)
    return (
        len(readers) == 1
        and isinstance(readers[0].operation, Pointwise)
        and readers[0].operation.function == "relu"
        and readers[0].inputs == (node.name,)
    )


def bounded(function: str) -> bool:
    """True for a function whose values stay within -1..1 (sigmoid, tanh): its range needs no calibration."""
    return bool(np.abs(_values(function)).max() <= 1.0)


def signed(function: str) -> bool:
    """True for a function that takes values below zero."""
    return bool(_values(function).min() < 0)


def _values(function: str) -> np.ndarray:
    return np.asarray(ACTIVATIONS[function](np.linspace(-60, 60, 2401).astype(np.float32)))


def limits(graph: Graph, node: Node, settings: Settings) -> tuple[int, int]:
    """Smallest and largest code of a node."""
    if node.codes is not None:
        # no code of a ReLU is below 0, whatever its source declares: where it is folded, this limit is the ReLU
        rectified = isinstance(node.operation, Pointwise) and node.operation.function == "relu"
        return max(node.codes.low, 0) if rectified else node.codes.low, node.codes.high
    kind = role(graph, node)
    if kind == "state":
        return -STATE_HIGH, STATE_HIGH
    if kind == "state_read":
        return -_state_read_high(graph, node, settings), _state_read_high(graph, node, settings)
    readers = graph.consumers(node.name)
    weighed = not readers or not all(isinstance(reader.operation, ELEMENTWISE) for reader in readers)
    high = settings.wide_high if kind in WIDE_ROLES or (kind == "bounded" and not weighed) else settings.high
    operation = node.operation
    writes = any(isinstance(reader.operation, Attention) for reader in readers)
    if isinstance(operation, Pointwise) and not signed(operation.function) and not writes:
        return 0, 2 * high + 1
    return -high, high


def _state_read_high(graph: Graph, node: Node, settings: Settings) -> int:
    """So that a row of the state, read with codes this large, fits int32."""
    (reader,) = {id(r): r for r in graph.consumers(node.name) if isinstance(r.operation, StateRead)}.values()
    width = graph.width(node.name) // reader.operation.heads  # type: ignore[attr-defined]
    return int(min(settings.wide_high, 2**30 // (STATE_HIGH * width)))


def shared_block(graph: Graph, name: str, channels: int) -> int:
    """How many neighbouring channels have to share a unit: 1, a map of a picture, a head's state, or all.

    All of them where a table or a weight that came quantized reads them; a map where a convolution does, whose
    weights are the same everywhere.
    """
    block = 1
    node = None if name == graph.entry else graph.node(name)
    if node is not None and tabled(graph, node):
        return channels
    for reader in graph.consumers(name):
        operation = reader.operation
        if isinstance(operation, Linear | Convolution) and operation.integers is not None:
            return channels
        if isinstance(operation, Convolution):
            block = max(block, operation.shape[1] * operation.shape[2])
        elif isinstance(operation, StateRead):
            block = channels if reader.inputs[1] == name else max(block, channels // operation.heads)
    if node is not None and isinstance(node.operation, StateUpdate):
        block = max(block, channels // node.operation.heads)
    return block
