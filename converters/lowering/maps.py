"""Maps: where the sums of a linear map or a convolution end, in a stream, in a result or in codes of their own."""

from __future__ import annotations

from snngen.converters.builder import Builder, lower, lower_codes, lower_potentials
from snngen.converters.coding import folded, sums
from snngen.converters.graph import Node
from snngen.converters.operations import Convolution, Linear


@lower.register(Linear)
@lower.register(Convolution)
def _(operation: Linear | Convolution, node: Node, builder: Builder) -> None:
    readers = builder.graph.consumers(node.name)
    if readers and (sums(builder.graph, node) or folded(builder.graph, node)):
        builder.deferred[node.name] = node
    elif not readers and node.codes is None:
        lower_potentials(operation, node, builder)
    else:
        lower_codes(operation, node, node, builder)
