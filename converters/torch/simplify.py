"""Simplify: a float graph without what nobody reads, scales folded into the weights before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snngen.converters.graph import BEFORE, Codes, Graph, Node
from snngen.converters.operations import Add, Convolution, Embedding, Floats, Linear, Scale


def simplify(graph: Graph, result: str) -> None:
    """Drop what does not lead to `result`, fold scales and code stages into what they read, put the result last.

    result: name of the node that gives the model's answer; it keeps it, or what it was folded into takes it over.
    """
    _drop_unread(graph, result)
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if isinstance(node.operation, Scale) and _fold(graph, node, result):
                changed = True
                break
    _input_codes(graph, result)
    last = next(node for node in graph.nodes if node.name == result)
    graph.nodes = [*(node for node in graph.nodes if node is not last), last]
    if any(result in node.inputs for node in graph.nodes):  # read within its own token: a copy can stand at the end
        ones = np.ones(graph.width(result), np.float32)
        graph.add(f"{result}_out", Scale((ones,)), result)


def _drop_unread(graph: Graph, result: str) -> None:
    inputs = {node.name: node.inputs for node in graph.nodes}
    needed, open_names = set[str](), [result]
    while open_names:
        name = open_names.pop()
        if name in needed or name not in inputs:
            continue
        needed.add(name)
        open_names += [x.removeprefix(BEFORE) for x in inputs[name]]
    graph.nodes = [node for node in graph.nodes if node.name in needed]


def _fold(graph: Graph, node: Node, result: str) -> bool:
    """Fold a scale of one input into what makes that input, where it is its only reader; True where it was."""
    scale = node.operation
    if not isinstance(scale, Scale) or len(node.inputs) != 1 or node.inputs[0].startswith(BEFORE):
        return False
    source = next((x for x in graph.nodes if x.name == node.inputs[0]), None)
    plain = bool((scale.weights[0] == 1).all()) and scale.bias is None
    if source is None or source.name == result or len(graph.consumers(source.name)) != 1:
        return False
    if source.codes is not None and not (plain and node.codes is not None and _same(source.codes, node.codes)):
        return False
    operation: Any = source.operation
    if not plain:
        operation = _scaled(operation, scale)
    elif node.codes is None or isinstance(operation, Add | Embedding):  # a potential is coded by a stage of its own
        return False
    if operation is None:
        return False
    merged = Node(node.name if node.name == result else source.name, operation, source.inputs, node.codes)
    new = {before + node.name: before + merged.name for before in ("", BEFORE)}
    graph.nodes = [
        replace(x, inputs=tuple(new.get(name, name) for name in x.inputs))
        for x in (merged if x is source else x for x in graph.nodes if x is not node)
    ]
    return True


def _same(one: Codes, other: Codes) -> bool:
    return (one.low, one.high) == (other.low, other.high) and np.array_equal(one.scale, other.scale)


def _scaled(operation: object, scale: Scale) -> Linear | Convolution | None:
    """weights * (what the operation gives) + bias as one operation of the same kind; None where there is none."""
    if not isinstance(operation, Linear | Convolution) or operation.integers is not None:
        return None
    channels = operation.outputs if isinstance(operation, Convolution) else len(operation.weight)
    factor = _per_channel(scale.weights[0], channels)
    shift = np.zeros(channels, np.float32) if scale.bias is None else _per_channel(scale.bias, channels)
    if factor is None or shift is None:
        return None
    bias = shift if operation.bias is None else shift + factor * operation.bias
    if isinstance(operation, Linear):
        return Linear(operation.weight * factor[:, None], bias)
    if operation.transposed:
        inputs, outputs = operation.weight.shape[:2]
        grouped = operation.weight.reshape(operation.groups, -1, *operation.weight.shape[1:])
        weight = grouped * factor.reshape(operation.groups, 1, outputs, 1, 1)
        return replace(operation, weight=weight.reshape(inputs, *operation.weight.shape[1:]), bias=bias)
    return replace(operation, weight=operation.weight * factor[:, None, None, None], bias=bias)


def _per_channel(values: Floats, channels: int) -> Floats | None:
    """One value per channel of a picture, where all its pixels have the same."""
    rows = values.reshape(channels, -1)
    return np.ascontiguousarray(rows[:, 0]) if (rows == rows[:, :1]).all() else None


def _input_codes(graph: Graph, result: str) -> None:
    """Codes of the input itself, where every reader of it is the same code stage."""
    readers = graph.consumers(graph.entry)
    if not graph.channels or not readers:
        return
    first = readers[0].codes
    for node in readers:
        plain = isinstance(node.operation, Scale) and node.operation.bias is None and len(node.inputs) == 1
        if not plain or not (node.operation.weights[0] == 1).all() or node.codes is None or first is None:  # type: ignore[attr-defined]
            return
        if not _same(node.codes, first):
            return
    if any(node.name == result for node in readers):
        return
    names = {node.name for node in readers}
    graph.codes = first
    graph.nodes = [
        replace(node, inputs=tuple(graph.entry if x in names else x for x in node.inputs))
        for node in graph.nodes
        if node.name not in names
    ]
