"""Embedding, positions and sums: the residual stream, potentials on one fixed grid."""

from __future__ import annotations

import numpy as np

from snngen.converters.builder import Builder, Doubles, bias, lower, lower_drive
from snngen.converters.graph import Node
from snngen.converters.lowering.linear import onto_grid, project_onto_grid
from snngen.converters.operations import Add, Embedding, Position
from snngen.neurons.accumulator import Accumulator
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.position import Position as PositionSynapse


@lower.register
def _(operation: Embedding, node: Node, builder: Builder) -> None:
    size = operation.weight.shape[1]
    builder.populate(node, Accumulator(np.zeros(size, np.int32)), np.full(1, builder.grid))
    project_onto_grid(builder, node, node.name, builder.grid)


@lower.register
def _(operation: Position, node: Node, builder: Builder) -> None:
    builder.deferred[node.name] = node


@lower_drive.register
def _(operation: Position, node: Node, target: Node, builder: Builder) -> Doubles:
    dense = onto_grid(builder, node, None, operation.weight.T.astype(np.float64), builder.grid)
    table = PositionSynapse(builder.graph.vocabulary, np.ascontiguousarray(dense.matrix), dense.gain)
    builder.project(builder.signals[node.inputs[0]].population, target.name, table)
    return np.zeros(operation.weight.shape[1])


@lower.register
def _(operation: Add, node: Node, builder: Builder) -> None:
    size = builder.graph.width(node.name)
    offset: Doubles = np.zeros(size)
    for name in node.inputs:
        if name in builder.deferred:
            before = builder.deferred[name]
            offset = offset + lower_drive(before.operation, before, node, builder)
        else:
            _carry(builder, name, node, size)
    builder.populate(node, Accumulator(bias(offset)), np.full(1, builder.grid))


def _carry(builder: Builder, name: str, node: Node, size: int) -> None:
    """Another stream as it is, or codes by what they are worth."""
    signal = builder.signal(name)
    if signal.potential:
        builder.project(signal.population, node.name, OneToOne(size))
    else:
        weight = np.rint(signal.scale / builder.grid).astype(np.int32)
        builder.project(signal.population, node.name, Diagonal(weight))
