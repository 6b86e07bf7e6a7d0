"""Values that meet channel by channel: scales, tables, gates, sums of products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snngen.converters.builder import (
    BIAS_LIMIT,
    Builder,
    Doubles,
    Signal,
    bias,
    integers,
    lower,
    lower_codes,
    threshold,
)
from snngen.converters.coding import folded
from snngen.converters.graph import BEFORE, Node
from snngen.converters.operations import ACTIVATIONS, Gate, Pointwise, Products, Scale
from snngen.neurons.gate import Gate as GateNeuron
from snngen.neurons.pointwise import Pointwise as PointwiseNeuron
from snngen.neurons.product_sum import ProductSum
from snngen.neurons.threshold import Threshold
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.one_to_one import OneToOne

GATE_PEAK = 2**14  # largest entry of a gate's table; its product with a wide code has to fit int32
TABLE_PEAK = 2**22  # of a pointwise table
PRODUCT_THETA = 2**24  # threshold of sums of products: how finely they weigh their terms
SCALE_THETA = 2**14  # threshold of per-channel scales, where the drive leaves room for it


@lower.register
def _(operation: Scale, node: Node, builder: Builder) -> None:
    scale, (low, high) = builder.scale(node), builder.limits(node)
    if len(node.inputs) == 1 and builder.signal(node.inputs[0]).potential and (operation.weights[0] == 1).all():
        theta = threshold(scale / builder.grid)
        offset = np.zeros(len(scale)) if operation.bias is None else operation.bias / builder.grid
        builder.populate(node, Threshold(theta, bias(offset), low, high), theta * builder.grid)
        builder.project(builder.signal(node.inputs[0]).population, node.name, OneToOne(len(theta)))
        return
    signals = [builder.codes(name) for name in node.inputs]
    ratios = [w.astype(np.float64) * s.scale / scale for w, s in zip(operation.weights, signals, strict=True)]
    offset = np.zeros(len(scale)) if operation.bias is None else operation.bias / scale
    largest = sum(np.abs(r) * s.high for r, s in zip(ratios, signals, strict=True)) + np.abs(offset)
    finest = SCALE_THETA if node.codes is None else BIAS_LIMIT  # codes of the source are met as closely as int32 can
    theta = np.clip(np.floor(BIAS_LIMIT / np.maximum(largest, 1e-30)), 1, finest)
    builder.populate(node, Threshold(theta.astype(np.int32), bias(offset * theta), low, high), scale)
    for signal, ratio in zip(signals, ratios, strict=True):
        builder.project(signal.population, node.name, Diagonal(np.rint(ratio * theta).astype(np.int32)))


@lower.register
def _(operation: Pointwise, node: Node, builder: Builder) -> None:
    low, high = builder.limits(node)
    if node.inputs[0] in builder.deferred and folded(builder.graph, builder.graph.node(node.inputs[0])):
        before = builder.deferred[node.inputs[0]]
        lower_codes(before.operation, before, node, builder)
        return
    signal = builder.table_input(node.inputs[0])
    scale = builder.scale(node)
    if node.codes is not None and np.ptp(scale) == 0:  # the source's own table of codes
        points = ACTIVATIONS[operation.function](np.arange(-signal.high, signal.high + 1) * signal.scale[0])
        codes = np.clip(np.rint(points / scale[0]), low, high).astype(np.int32)
        builder.populate(node, PointwiseNeuron(codes, -signal.high, np.ones(len(scale), np.int32), low, high), scale)
        builder.project(signal.population, node.name, OneToOne(len(scale)))
        return
    table, unit = tabulate(operation.function, signal, TABLE_PEAK)
    theta = threshold(builder.scale(node) / unit)
    builder.populate(node, PointwiseNeuron(table, -signal.high, theta, low, high), theta * unit)
    builder.project(signal.population, node.name, OneToOne(len(theta)))


def tabulate(function: str, signal: Signal, peak: int) -> tuple[np.ndarray, float]:
    """(table, unit): the function of every code of a signal, in units of which the largest has `peak`."""
    points = ACTIVATIONS[function]((np.arange(-signal.high, signal.high + 1) * signal.scale[0]).astype(np.float64))
    unit = max(float(np.abs(points).max()), 1e-30) / peak
    return np.rint(points / unit).astype(np.int32), unit


@lower.register
def _(operation: Gate, node: Node, builder: Builder) -> None:
    gate, value = builder.table_input(node.inputs[0]), builder.codes(node.inputs[1])
    table, unit = tabulate(operation.activation, gate, GATE_PEAK)
    theta = threshold(builder.scale(node) / (unit * value.scale))
    low, high = builder.limits(node)
    builder.populate(node, GateNeuron(table, -gate.high, theta, low, high), theta * unit * value.scale)
    for operand, signal in zip(("gate", "value"), (gate, value), strict=True):
        builder.project(signal.population, node.name, OneToOne(len(theta)), operand)


@lower.register
def _(operation: Products, node: Node, builder: Builder) -> None:
    signals = [builder.codes(name) for name in node.inputs]
    scale = builder.scale(node)
    ones = np.ones(len(scale))
    weights = [ones if weight is None else weight.astype(np.float64) for weight in operation.weights]
    worth = [w * a.scale * b.scale for w, a, b in zip(weights, signals[::2], signals[1::2], strict=True)]
    low, high = builder.limits(node)
    kept = BEFORE + node.name in node.inputs
    builder.populate(node, product_sum(worth, scale, low, high, kept), scale)
    for number, signal in enumerate(signals):
        builder.project(signal.population, node.name, OneToOne(len(scale)), f"{'ab'[number % 2]}{number // 2}")


def product_sum(worth: Sequence[Doubles], scale: Doubles, low: int, high: int, kept: bool) -> ProductSum:
    """Neurons whose terms are worth so much per unit of product; kept: the value is a state."""
    multiplier = integers(np.stack([term / scale * PRODUCT_THETA for term in worth]))
    return ProductSum(multiplier, np.full(len(scale), PRODUCT_THETA, dtype=np.int64), low, high, int(kept))
