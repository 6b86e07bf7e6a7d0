"""Convolutions: kernels are rounded to what one unit per output channel can carry, or kept as the source has them.

A kernel is the same everywhere, so all of an input's map shares the worth of one unit; thresholds may differ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters.builder import (
    BIAS_LIMIT,
    Builder,
    Doubles,
    Signal,
    bias,
    lower_codes,
    lower_drive,
    lower_potentials,
    rescaled,
)
from snngen.converters.coding import role, tabled
from snngen.converters.graph import BEFORE, Node
from snngen.converters.lowering.linear import common_unit, fractions
from snngen.converters.operations import Convolution, Integers
from snngen.errors import UnsupportedError
from snngen.integers import INT32_MAX
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.threshold import Threshold
from snngen.synapses.convolution import Convolution as ConvolutionSynapse
from snngen.synapses.sparse import Sparse

SPREAD = 1e-4  # relative: units of a map that differ by less are taken for one; codes of 12 bits do not tell them apart

# An input, its first channel and their number, and its share of the kernel, in blocks.
Part = tuple[Signal, int, int, Doubles]


def blocks(operation: Convolution, weight: npt.NDArray[Any]) -> Doubles:
    """A kernel as (groups, outputs of a group, inputs of a group, height, width)."""
    whole = weight.astype(np.float64)
    if operation.transposed:
        return np.asarray(whole.reshape(operation.groups, -1, *whole.shape[1:]).swapaxes(1, 2))
    return np.asarray(whole.reshape(operation.groups, -1, *whole.shape[1:]))


def synapse(
    operation: Convolution, kernel: Doubles, first: int, channels: int, gain: npt.NDArray[np.int32]
) -> ConvolutionSynapse | Sparse:
    """The synapses of an input of so many channels. kernel: in blocks, whole numbers. gain: (outputs,)."""
    groups, outputs, inputs, tall, wide = kernel.shape
    if operation.transposed:
        whole = kernel.swapaxes(1, 2).reshape(groups * inputs, outputs, tall, wide)
    else:
        whole = kernel.reshape(groups * outputs, inputs, tall, wide)
    if groups > 1 and channels < operation.shape[0]:
        return _scattered(operation, whole.astype(np.int8), first, channels, gain)
    return ConvolutionSynapse(
        np.ascontiguousarray(whole.astype(np.int8)), gain, np.array([channels, *operation.shape[1:]]),
        np.array(operation.stride), np.array(operation.padding), np.array(operation.dilation),
        np.array(operation.output_padding), operation.groups, operation.transposed,
    )  # fmt: skip


def _scattered(
    operation: Convolution, kernel: npt.NDArray[np.int8], first: int, channels: int, gain: npt.NDArray[np.int32]
) -> Sparse:
    """The synapses one by one, of an input that is some of the channels of a grouped convolution."""
    places = operation.shape[1] * operation.shape[2]
    source, target, index = operation.taps()
    mine = np.flatnonzero((source >= first * places) & (source < (first + channels) * places))
    order = mine[np.lexsort((target[mine], source[mine]))]
    counts = np.bincount(source[order] - first * places, minlength=channels * places)
    rows = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    gains = gain.repeat(math.prod(operation.output_shape[1:]))
    return Sparse(rows, target[order].astype(np.int32), kernel.reshape(-1)[index[order]], gains)


def map_input(builder: Builder, name: str, places: int) -> tuple[Signal, Doubles]:
    """The value as codes with one unit per map of `places` neurons, and those units; rescaled where they differ."""
    plain = name.removeprefix(BEFORE)
    if plain in builder.signals and name != plain:
        signal, units = map_input(builder, plain, places)
        return signal.before, units
    signal = builder.codes(name)
    maps = np.broadcast_to(signal.scale, (builder.graph.width(plain),)).reshape(-1, places)
    if (np.ptp(maps, axis=1) <= SPREAD * maps.max(axis=1)).all():
        return signal, maps.mean(axis=1)
    read, high = f"{plain}.maps" if name == plain else f"{plain}.before.maps", builder.settings.high
    units = np.maximum(maps.max(axis=1) * signal.high / high, 1e-30)
    if read not in builder.signals:
        scale = units.repeat(places)
        builder.append(read, rescaled(scale, high, signal.potential, builder.grid), scale)
        builder.project(signal.population, read, builder.rescale(signal, scale))
        builder.signals[read] = Signal(read, scale, high)
    return builder.signals[read], units


def split(builder: Builder, node: Node, operation: Convolution) -> list[Part]:
    """Each input, its channels, and its share of the kernel times what one unit of each code is worth."""
    places, kernel = operation.shape[1] * operation.shape[2], blocks(operation, operation.weight)
    parts: list[Part] = []
    first = 0
    for name in node.inputs:
        signal, units = map_input(builder, name, places)
        channels = len(units)
        if operation.groups == 1:
            share = kernel[:, :, first : first + channels] * units[:, None, None]
        else:
            own = np.zeros(max(operation.shape[0], first + channels))
            own[first : first + channels] = units
            share = kernel * own[: operation.shape[0]].reshape(operation.groups, 1, -1, 1, 1)
        parts.append((signal, first, channels, share))
        first += channels
    if first != operation.shape[0]:
        raise UnsupportedError(f"node {node.name}", f"{first} channels", f"{operation.shape[0]}, as its kernel has")
    return parts


def _peaks(parts: list[Part]) -> Doubles:
    """(outputs,) largest weight of each output channel."""
    peaks = [np.abs(share).max(axis=(2, 3, 4)).reshape(-1) for *_, share in parts]
    return np.asarray(np.maximum.reduce(peaks))


@lower_potentials.register
def _(operation: Convolution, node: Node, builder: Builder) -> None:
    """A result that nothing rounds."""
    parts = split(builder, node, operation)
    peaks = _peaks(parts)
    grid = float(np.median(peaks[peaks > 0])) / (127 * 64) if peaks.any() else 1.0
    if operation.integers is not None and len(parts) == 1:
        grid = common_unit(operation.integers.scale * _unit(node, parts[0][0])) or grid
    builder.populate(node, Accumulator(bias(stream_bias(operation) / grid)), np.full(1, grid))
    _onto_grid(operation, node, node.name, grid, builder)


def stream_bias(operation: Convolution) -> Doubles:
    """(targets,) bias of every neuron."""
    outputs, tall, wide = operation.output_shape
    each = np.zeros(outputs) if operation.bias is None else operation.bias.astype(np.float64)
    return each.repeat(tall * wide)


def _unit(node: Node, signal: Signal) -> float:
    """The one worth of a unit of each input that kernels read which came quantized."""
    if not signal.uniform:
        expected = "one, for weights that came quantized"
        raise UnsupportedError(f"node {node.name}", "inputs of different scales", expected, "graph.unquantized()")
    return float(signal.scale[0])


@lower_drive.register
def _(operation: Convolution, node: Node, target: Node, builder: Builder) -> Doubles:
    _onto_grid(operation, node, target.name, builder.grid, builder)
    return stream_bias(operation) / builder.grid


def _onto_grid(operation: Convolution, node: Node, target: str, grid: float, builder: Builder) -> None:
    """Project a convolution so that its drive counts in whole units of a grid: kernel * gain * grid is its worth."""
    integers, high = operation.integers, 2 ** (builder.settings.bits_of(node.name) - 1) - 1
    for signal, first, channels, share in split(builder, node, operation):
        if integers is not None and len(node.inputs) == 1:
            wanted = integers.scale * _unit(node, signal) / grid
            gains = np.clip(np.rint(wanted), 1, INT32_MAX).astype(np.int32)
            if (np.abs(gains - wanted) <= wanted / (4 * high)).all():
                kept = synapse(operation, blocks(operation, integers.matrix), first, channels, gains)
                builder.project(signal.population, target, kept)
                continue
            builder.notes.append(
                f"{node.name}: the units of its integer weights are no whole numbers of units of the stream that it "
                f"drives, so the weights were rounded again, to {builder.settings.bits_of(node.name)} bits"
            )
        peaks = np.abs(share).max(axis=(2, 3, 4), keepdims=True)
        # a gain that is held to int32 makes a drive beyond it, which the network refuses
        gain = np.clip(np.ceil(peaks / (high * grid)), 1, INT32_MAX)
        kernel = np.clip(np.rint(share / (gain * grid)), -high, high)
        gains = gain.reshape(-1).astype(np.int32)
        builder.project(signal.population, target, synapse(operation, kernel, first, channels, gains))


@lower_codes.register
def _(operation: Convolution, node: Node, target: Node, builder: Builder) -> None:
    outputs, (low, high) = operation.outputs, builder.limits(target)
    scale = builder.scale(target).reshape(outputs, -1)
    if operation.integers is not None and len(node.inputs) == 1:
        _exact(operation, operation.integers, node, target, scale, (low, high), builder)
        return
    parts, fine = split(builder, node, operation), 2 ** (builder.settings.bits_of(node.name) - 1) - 1
    peak = np.maximum(_peaks(parts), 1e-30)[:, None]
    if target.codes is None:
        finest = peak / fine  # a unit of drive: were a code finer, weights would be clipped
        shared = role(builder.graph, target) == "unturned" or tabled(builder.graph, target)
        scale = scale * max(1.0, float((finest / scale).max())) if shared else np.maximum(scale, finest)
    largest = BIAS_LIMIT // (high + 1)  # so that a bias that its code can express is one that fits
    top = scale.max(axis=1, keepdims=True)
    unit = top / np.clip(np.floor(top * fine / peak), 1, largest)
    theta = np.clip(np.rint(scale / unit), 1, largest)
    offset = stream_bias(operation) / unit.repeat(scale.shape[1])
    builder.populate(
        target, Threshold(theta.reshape(-1).astype(np.int32), bias(offset), low, high), (theta * unit).reshape(-1)
    )
    ones = np.ones(outputs, np.int32)
    for signal, first, channels, share in parts:
        kernel = np.clip(np.rint(share / unit.reshape(operation.groups, -1, 1, 1, 1)), -fine, fine)
        builder.project(signal.population, target.name, synapse(operation, kernel, first, channels, ones))


def _exact(
    operation: Convolution, integers: Integers, node: Node, target: Node, scale: Doubles, limits: tuple[int, int],
    builder: Builder,
) -> None:  # fmt: skip
    """Integer kernels of the source as they are; see `lowering/linear.py`."""
    signal = builder.codes(node.inputs[0])
    unit = integers.scale * _unit(node, signal)
    kernel = blocks(operation, integers.matrix)
    largest = np.abs(kernel).sum(axis=(2, 3, 4)).reshape(-1) * signal.high
    offset = np.zeros(len(unit)) if operation.bias is None else operation.bias / unit
    top = scale.max(axis=1)
    gain, theta = fractions(top / unit, largest + np.abs(offset))
    thetas = np.clip(np.rint(scale * (theta / top)[:, None]), 1, INT32_MAX).reshape(-1).astype(np.int32)
    places = math.prod(operation.output_shape[1:])
    builder.populate(target, Threshold(thetas, bias((offset * gain).repeat(places)), *limits), scale.reshape(-1))
    builder.project(signal.population, target.name, synapse(operation, kernel, 0, operation.shape[0], gain))
