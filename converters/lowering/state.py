"""The matrix state of RWKV: updated neuron by neuron, read through synapses whose weights it is."""

from __future__ import annotations

import numpy as np

from snngen.converters.builder import Builder, Signal, lower, threshold
from snngen.converters.graph import BEFORE, Node
from snngen.converters.lowering.elementwise import product_sum
from snngen.converters.operations import StateRead, StateUpdate
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.threshold import Threshold
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.broadcast import Broadcast
from snngen.synapses.one_to_one import OneToOne


@lower.register
def _(operation: StateUpdate, node: Node, builder: Builder) -> None:
    heads = operation.heads
    past = builder.signal(node.inputs[0])
    decay, gone, key, value, written = (builder.codes(name) for name in node.inputs[1:])
    width = len(decay.scale) // heads
    along, across = Broadcast(heads, width, width), Broadcast(heads * width, width, 1)
    scale = builder.scale(node)

    def rows(signal: Signal) -> np.ndarray:  # of s[i, j] the same for every j
        return signal.scale.repeat(width)

    def columns(signal: Signal) -> np.ndarray:  # the same for every i
        return np.repeat(signal.scale.reshape(heads, 1, width), width, axis=1).reshape(-1)

    worth = [past.scale * columns(decay), rows(gone) * columns(key), rows(value) * columns(written)]
    builder.populate(node, product_sum(worth, scale, *builder.limits(node), kept=True), scale)
    builder.project(past.population, node.name, OneToOne(len(scale)), "a0")
    corrected = ("b0", decay, along), ("a1", gone, across), ("b1", key, along)
    for operand, signal, synapse in (*corrected, ("a2", value, across), ("b2", written, along)):
        builder.project(signal.population, node.name, synapse, operand)


@lower.register
def _(operation: StateRead, node: Node, builder: Builder) -> None:
    state, read = _held(builder, node.inputs[0]), builder.codes(node.inputs[1])
    heads = operation.heads
    width = len(read.scale) // heads
    unit = state.scale.reshape(heads * width, width)[:, 0] * read.scale  # the read codes share a unit
    theta = threshold(builder.scale(node) / unit)
    builder.populate(node, Threshold(theta, np.zeros_like(theta), *builder.limits(node)), theta * unit)
    builder.project(read.population, node.name, Bilinear(heads, width, width), writer=state.population)


def _held(builder: Builder, name: str) -> Signal:
    """The state itself; that of the token before is held by a population of its own, which others may write from."""
    signal = builder.signal(name)
    if not name.startswith(BEFORE):
        return signal
    held = f"{name.removeprefix(BEFORE)}.before"
    if held not in builder.signals:
        size = len(signal.scale)
        builder.append(held, Accumulator(np.zeros(size, np.int32)), signal.scale)
        builder.project(signal.population, held, OneToOne(size))
        builder.signals[held] = Signal(held, signal.scale, signal.high)
    return builder.signals[held]
