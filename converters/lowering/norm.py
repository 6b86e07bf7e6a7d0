"""Norms: thresholds made from what they read."""

from __future__ import annotations

import numpy as np

from snngen.converters.builder import Builder, integers, lower
from snngen.converters.graph import Node
from snngen.converters.operations import GroupNorm, RMSNorm
from snngen.neurons.group_norm import BIAS_LIMIT
from snngen.neurons.group_norm import GroupNorm as GroupNormNeuron
from snngen.neurons.rms_norm import FRACTION_BITS
from snngen.neurons.rms_norm import RMSNorm as RMSNormNeuron


@lower.register
def _(operation: RMSNorm, node: Node, builder: Builder) -> None:
    source, synapse, unit = builder.wide_input(node.inputs[0])
    scale = builder.scale(node)
    gain = integers(operation.weight.astype(np.float64) / scale * 2**FRACTION_BITS)
    epsilon = int(np.rint(operation.epsilon / unit**2 * 4.0**FRACTION_BITS))
    builder.populate(node, RMSNormNeuron(gain, epsilon, *builder.limits(node)), scale)
    builder.project(source, node.name, synapse)


@lower.register
def _(operation: GroupNorm, node: Node, builder: Builder) -> None:
    source, synapse, unit = builder.wide_input(node.inputs[0])
    scale = builder.scale(node)
    gain = integers(operation.weight.astype(np.float64) / scale * 2**FRACTION_BITS)
    offset = np.zeros(len(scale)) if operation.bias is None else operation.bias / scale * 2**FRACTION_BITS
    epsilon = int(np.rint(operation.epsilon / unit**2 * 4.0**FRACTION_BITS))
    neuron = GroupNormNeuron(
        gain,
        integers(np.clip(offset, -BIAS_LIMIT, BIAS_LIMIT)),
        epsilon,
        operation.groups,
        int(operation.centred),
        *builder.limits(node),
    )
    builder.populate(node, neuron, scale)
    builder.project(source, node.name, synapse)
