"""Attention and the stage before it: rotary positions, scores, probabilities, mixed values."""

from __future__ import annotations

import numpy as np

from snngen.converters.builder import Builder, integers, lower, threshold
from snngen.converters.graph import Node
from snngen.converters.operations import Attention, Rotary
from snngen.errors import UnsupportedError
from snngen.neurons.softmax import SHIFT, Softmax
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.rotary import UNIT
from snngen.synapses.rotary import Rotary as RotarySynapse
from snngen.synapses.value_memory import ValueMemory

SPREAD = 0.01  # relative: thresholds are whole numbers, so a head's channels agree on the worth of a score but for that


@lower.register
def _(operation: Rotary, node: Node, builder: Builder) -> None:
    angles = operation.angles(0, _context(builder, node))
    cosine, sine = (np.rint(turn(angles) * UNIT).astype(np.int32) for turn in (np.cos, np.sin))
    signal = builder.codes(node.inputs[0])
    unit = signal.scale / UNIT
    theta = threshold(builder.scale(node) / unit)
    builder.populate(node, Threshold(theta, np.zeros_like(theta), *builder.limits(node)), theta * unit)
    builder.project(signal.population, node.name, RotarySynapse(operation.heads, cosine, sine))


@lower.register
def _(operation: Attention, node: Node, builder: Builder) -> None:
    settings, context = builder.settings, _context(builder, node)
    heads, groups = operation.heads, operation.groups
    query, key, value = (builder.codes(name) for name in node.inputs)
    width = len(query.scale) // heads
    share = key.scale.reshape(groups, width).repeat(heads // groups, axis=0)
    each = query.scale.reshape(heads, width) * share
    if (np.ptp(each, axis=1) > SPREAD * each.max(axis=1)).any():
        raise UnsupportedError(f"node {node.name}", "queries and keys of other scales", "one worth of a score per head")
    worth = each.mean(axis=1)
    worth = worth / np.sqrt(width) if operation.scale is None else worth * operation.scale
    multiplier = integers(worth * np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS))
    top = 2**settings.probability_bits - 1
    scores = f"{node.name}_probability"
    builder.append(scores, Softmax(multiplier, context, top), np.full(1, 1 / top))
    keys = KeyMemory(heads, groups, width, context)
    builder.project(query.population, scores, keys, writer=key.population)
    unit = value.scale.reshape(groups, width).repeat(heads // groups, axis=0).reshape(-1) / top
    theta = threshold(builder.scale(node) / unit)
    builder.populate(node, Threshold(theta, np.zeros_like(theta), *builder.limits(node)), theta * unit)
    builder.project(scores, node.name, ValueMemory(heads, groups, width, context), writer=value.population)


def _context(builder: Builder, node: Node) -> int:
    if builder.graph.context is None:
        raise UnsupportedError(f"node {node.name}", "a graph without a context", "a number of tokens that fit")
    return builder.graph.context
