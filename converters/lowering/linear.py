"""Linear maps: weights rounded to what one threshold per output neuron can carry, or kept as the source has them."""

from __future__ import annotations

from fractions import Fraction

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
)
from snngen.converters.coding import role, tabled
from snngen.converters.graph import Node
from snngen.converters.lowering.weights import Matrix, columns, few_bits, split, stored
from snngen.converters.operations import Embedding, Integers, Linear
from snngen.converters.rounding import nearest
from snngen.errors import UnsupportedError
from snngen.integers import INT32_MAX
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.threshold import Threshold

MOST_UNITS = 2**12
ROUNDING = 2.0**-22  # relative, of a ratio of three float32 numbers


@lower_drive.register
def _(operation: Linear, node: Node, target: Node, builder: Builder) -> Doubles:
    project_onto_grid(builder, node, target.name, builder.grid)
    return np.zeros(len(operation.weight)) if operation.bias is None else operation.bias / builder.grid


@lower_potentials.register
def _(operation: Linear, node: Node, builder: Builder) -> None:
    """The logits, or a result that nothing rounds."""
    parts = split(builder, node, operation.weight)
    peaks = np.abs(np.concatenate([weight for _, weight in parts], axis=1)).max(axis=1)
    grid = float(np.median(peaks[peaks > 0])) / (127 * 64) if peaks.any() else 1.0
    if operation.integers is not None and len(parts) == 1:
        found = common_unit(operation.integers.scale * _unit(node, parts[0][0]))
        steps = np.zeros(1) if operation.bias is None or found is None else operation.bias / found
        whole = (np.abs(steps - np.rint(steps)) <= 0.01 + ROUNDING * np.abs(steps)).all()
        grid = found if found is not None and whole else grid
    offset = np.zeros(len(peaks)) if operation.bias is None else operation.bias / grid
    builder.populate(node, Accumulator(bias(offset)), np.full(1, grid))
    project_onto_grid(builder, node, node.name, grid)


def onto_grid(builder: Builder, node: Node, signal: Signal | None, weight: Doubles, grid: float) -> Matrix:
    """Weights whose drive counts in whole units of a grid: matrix * gain * grid is what they are worth.

    weight: (outputs, inputs), times the worth of one unit of each input. signal: that input. Weights that came
    quantized keep their integers; their scale is rounded to the grid.
    """
    integers = getattr(node.operation, "integers", None)
    if integers is not None and signal is not None and len(node.inputs) == 1:
        gain = np.clip(np.rint(integers.scale * _unit(node, signal) / grid), 1, INT32_MAX)
        return stored(builder, node, integers.matrix, gain)
    rounded = nearest(np.asarray(weight, dtype=np.float64), builder.settings.bits_of(node.name), grid)
    # a gain that is held to int32 makes a drive beyond it, which the network refuses
    return stored(builder, node, rounded.matrix, np.minimum(np.rint(rounded.unit / grid), INT32_MAX))


def common_unit(values: Doubles) -> float | None:
    """The largest number of which all values are whole multiples, as far as float32 tells, or None."""
    shortest = float(values.min())
    if not shortest > 0:
        return None
    counts = values[None] / shortest * np.arange(1, MOST_UNITS + 1)[:, None]
    fits = (np.abs(counts - np.rint(counts)) <= ROUNDING * counts).all(axis=1)
    return shortest / (int(fits.argmax()) + 1) if fits.any() else None


def project_onto_grid(builder: Builder, node: Node, target: str, grid: float) -> None:
    """Let a linear map, or an embedding, drive a population that counts in units of a grid."""
    if node.name in builder.corrections:
        for signal, rounded in columns(builder, node, grid):
            synapse = stored(builder, node, rounded.matrix, np.minimum(np.rint(rounded.unit / grid), INT32_MAX))
            builder.project(signal.population, target, synapse)
    elif isinstance(node.operation, Embedding) and _carries(node.operation, grid):
        integers = node.operation.integers
        if integers is not None:
            source = builder.signals[node.inputs[0]].population
            builder.project(source, target, stored(builder, node, integers.matrix, np.rint(integers.scale / grid)))
    elif isinstance(node.operation, Embedding):
        table = node.operation.weight.T.astype(np.float64)
        source = builder.signals[node.inputs[0]].population
        builder.project(source, target, onto_grid(builder, node, None, table, grid))
    elif isinstance(node.operation, Linear):
        for signal, weight in split(builder, node, node.operation.weight):
            builder.project(signal.population, target, onto_grid(builder, node, signal, weight, grid))


def _carries(operation: Embedding, grid: float) -> bool:
    """True where the scales of a table that came quantized are whole multiples of a grid."""
    if operation.integers is None:
        return False
    gain = operation.integers.scale / grid
    return bool((gain > 0.5).all() and np.abs(gain / np.rint(gain) - 1).max() < 1e-3)


def _unit(node: Node, signal: Signal) -> float:
    """The one worth of a unit of each input that weights read which came quantized.

    Where the codes of the inputs have scales of their own, the float weights carry what makes them equal.
    """
    operation = node.operation
    if signal.uniform or not isinstance(operation, Linear):
        return float(signal.scale[0])
    integers = operation.integers
    if integers is None:
        raise TypeError(f"node {node.name} has no integers")
    plain = np.abs(integers.matrix * integers.scale[:, None]).sum(axis=0)
    worth = np.abs(operation.weight.astype(np.float64)).sum(axis=0) * signal.scale / np.maximum(plain, 1e-30)
    worth = worth[plain > 0]
    if worth.size == 0 or np.ptp(worth) > 1e-5 * worth[0]:
        expected = "one, for weights kept as they came"
        raise UnsupportedError(f"node {node.name}", "inputs of different scales", expected, "graph.unquantized()")
    return float(np.median(worth))


@lower_codes.register
def _(operation: Linear, node: Node, target: Node, builder: Builder) -> None:
    scale, (low, high) = builder.scale(target), builder.limits(target)
    if operation.integers is not None and len(node.inputs) == 1:
        _exact(operation, operation.integers, node, target, builder)
        return
    if few_bits(builder, node):
        _few(operation, node, target, builder)
        return
    parts = split(builder, node, operation.weight)
    fine = 2 ** (builder.settings.bits_of(node.name) - 1) - 1
    peak = np.maximum(np.abs(np.concatenate([weight for _, weight in parts], axis=1)).max(axis=1), 1e-30)
    if target.codes is None:
        finest = peak / fine  # a unit of drive: were a code finer, weights would be clipped
        shared = role(builder.graph, target) == "unturned" or tabled(builder.graph, target)
        scale = scale * max(1.0, float((finest / scale).max())) if shared else np.maximum(scale, finest)
    largest = BIAS_LIMIT // (high + 1)  # so that a bias that its code can express is one that fits
    theta = np.clip(np.floor(scale * fine / peak), 1, largest)
    unit = scale / theta
    offset = np.zeros(len(theta)) if operation.bias is None else operation.bias / unit
    builder.populate(target, Threshold(theta.astype(np.int32), bias(offset), low, high), scale)
    for signal, weight in parts:
        matrix = np.clip(np.rint(weight / unit[:, None]), -fine, fine)
        synapse = stored(builder, node, matrix.astype(np.int8), np.ones(len(theta), np.int32))
        builder.project(signal.population, target.name, synapse)


def _few(operation: Linear, node: Node, target: Node, builder: Builder) -> None:
    """Weights whose unit is a free choice: gain / theta is the best fraction for it."""
    parts, scale, (low, high) = columns(builder, node), builder.scale(target), builder.limits(target)
    unit = parts[0][1].unit
    peaks = sum(np.abs(part.matrix.astype(np.int64)).sum(axis=1) * signal.high for signal, part in parts)
    offset = np.zeros(len(unit)) if operation.bias is None else operation.bias / unit
    gain, theta = fractions(scale / unit, peaks + np.abs(offset))
    builder.populate(target, Threshold(theta, bias(offset * gain), low, high), scale)
    for signal, part in parts:
        builder.project(signal.population, target.name, stored(builder, node, part.matrix, gain))


def _exact(operation: Linear, integers: Integers, node: Node, target: Node, builder: Builder) -> None:
    """Integer weights of the source as they are: drive is counted in units of weight scale * code scale / gain.

    code = clip(floor((gain * sum + bias + theta // 2) / theta)), gain / theta the best fraction for
    weight scale * code scale / output scale, with a gain so large that the drive still fits int32.
    """
    signal, scale = builder.codes(node.inputs[0]), builder.scale(target)
    unit = integers.scale * _unit(node, signal)
    peaks = np.abs(integers.matrix.astype(np.int64)).sum(axis=1) * signal.high
    offset = np.zeros(len(unit)) if operation.bias is None else operation.bias / unit
    gain, theta = fractions(scale / unit, peaks + np.abs(offset))
    builder.populate(target, Threshold(theta, bias(offset * gain), *builder.limits(target)), scale)
    builder.project(signal.population, target.name, stored(builder, node, integers.matrix, gain))


def fractions(ratio: Doubles, largest: Doubles) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """(gain, theta), the best fractions theta / gain for each ratio such that gain * largest and theta fit int32."""
    gains, thetas = [], []
    for value, peak in zip(ratio.tolist(), largest.tolist(), strict=True):
        limit = int(min(2**30 / max(peak, 1.0), 2**30 / max(value, 2.0**-30)))
        whole = Fraction(max(1, round(value)))  # three scales in float32 do not tell such a ratio from a whole number
        best = whole if abs(whole - value) <= ROUNDING * value else Fraction(value).limit_denominator(max(1, limit))
        gains.append(best.denominator)
        thetas.append(min(max(1, best.numerator), INT32_MAX))
    return np.array(gains, dtype=np.int32), np.array(thetas, dtype=np.int32)
