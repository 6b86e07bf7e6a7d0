"""Quantizer: a float graph and calibration tokens become a network of integers.

Each operation of the graph becomes populations and projections. Every scale is chosen here, from the values that the
float graph takes on the calibration tokens; at run time nothing is scaled, the thresholds are the scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import singledispatchmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.converters import operations as floats
from snngen.converters.calibrate import WIDE_ROLES, Ranges, calibrate, role
from snngen.converters.graph import Graph, Node
from snngen.converters.operations import Floats
from snngen.errors import PromptError, UnsupportedError
from snngen.integers import INT32_MAX
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.rms_norm import FRACTION_BITS, RMSNorm
from snngen.neurons.softmax import SHIFT, Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.rotary import UNIT, Rotary
from snngen.synapses.value_memory import ValueMemory

Doubles = npt.NDArray[np.float64]

STREAM_PEAK = 2**21  # calibrated peak of the residual stream, a quarter of the 24 bits that a norm reads
TABLE_PEAK = 2**14  # largest entry of a pointwise table
BIAS_LIMIT = 2**30  # beyond, a bias is held to it: half of int32, the rest is for the drive


@dataclass(frozen=True)
class Settings:
    """How fine the integers are.

    weight_bits: of constant weights, 2..8. activation_bits: of codes that pass weights, 2..8.
    wide_bits: of codes that pass no weight (queries and keys before they turn, gates before their product).
    probability_bits: of attention probabilities, unsigned.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    wide_bits: int = 12
    probability_bits: int = 8

    def __post_init__(self) -> None:
        limits = {"weight_bits": (2, 8), "activation_bits": (2, 8), "wide_bits": (2, 12), "probability_bits": (2, 12)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UnsupportedError(f"Settings.{name}", str(getattr(self, name)), f"{low}..{high}")

    @property
    def weight_high(self) -> int:
        return int(2 ** (self.weight_bits - 1) - 1)

    @property
    def high(self) -> int:
        return int(2 ** (self.activation_bits - 1) - 1)

    @property
    def wide_high(self) -> int:
        return int(2 ** (max(self.wide_bits, self.activation_bits) - 1) - 1)


@dataclass(frozen=True)
class Signal:
    """Where a float value lives in the network: a population, and what one unit of each code is worth."""

    population: str
    scale: Doubles


def quantize(
    graph: Graph,
    calibration: npt.NDArray[np.integer[Any]],
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Turn a float graph into a spiking network.

    calibration: (sequences, tokens) token numbers on which the scales are chosen.
    progress: is told (calibration trials done, trials in all).
    raises: UnsupportedError with every operation that cannot be carried; PromptError for unusable calibration.
    """
    settings = Settings() if settings is None else settings
    tokens = np.asarray(calibration)
    if tokens.ndim != 2 or tokens.size == 0 or tokens.shape[1] > graph.context or tokens.dtype.kind not in "iu":
        expected = f"(sequences, up to {graph.context} tokens) integers"
        raise PromptError("calibration", f"shape {tokens.shape} of {tokens.dtype}", expected)
    if not 0 <= tokens.min() <= tokens.max() < graph.vocabulary:
        raise PromptError("calibration", f"tokens {tokens.min()}..{tokens.max()}", f"0..{graph.vocabulary - 1}")
    builder = _Builder(graph, calibrate(graph, tokens, settings.high, progress), settings)
    for node in graph.nodes:
        builder.add(node.operation, node)
    return builder.network(tokens)


class _Builder:
    """Collects populations and projections while it walks the graph."""

    def __init__(self, graph: Graph, ranges: Ranges, settings: Settings) -> None:
        self.graph, self.ranges, self.settings = graph, ranges, settings
        self.populations: list[Population] = [Population("token", Source(graph.vocabulary))]
        self.projections: list[Projection] = []
        self.signals: dict[str, Signal] = {"tokens": Signal("token", np.ones(graph.vocabulary))}
        self.deferred: dict[str, Node] = {}  # linear nodes that drive the residual stream directly
        stream = [node.name for node in graph.nodes if isinstance(node.operation, floats.Add | floats.Embedding)]
        peak = max((float(ranges.peaks[name].max()) for name in stream), default=1.0)
        self.grid = peak / STREAM_PEAK  # worth of one unit of the residual stream

    def network(self, tokens: npt.NDArray[np.integer[Any]]) -> Network:
        graph = self.graph
        provenance = {
            **graph.provenance,
            "quantizer": asdict(self.settings),
            "calibration_tokens": int(tokens.size),
            "ranges": {kind: list(choice) for kind, choice in self.ranges.choices.items()},
            "notes": list(graph.notes),
        }
        return Network(
            tuple(self.populations),
            tuple(self.projections),
            output=self.signals[graph.nodes[-1].name].population,
            tokenizer=graph.tokenizer,
            begin=graph.begin,
            end=graph.end,
            provenance=provenance,
        )

    @singledispatchmethod
    def add(self, operation: floats.Operation, node: Node) -> None:
        """Turn one node into populations and projections."""
        raise UnsupportedError(f"node {node.name}", type(operation).__name__, "an operation that the quantizer carries")

    @add.register
    def _(self, operation: floats.Embedding, node: Node) -> None:
        self._populate(node, Accumulator(np.zeros(operation.weight.shape[1], np.int32)), np.full(1, self.grid))
        self._project("tokens", node.name, self._onto_grid(operation.weight.T, np.ones(1), self.grid))

    @add.register
    def _(self, operation: floats.Linear, node: Node) -> None:
        consumers = self.graph.consumers(node.name)
        if consumers and all(isinstance(reader.operation, floats.Add) for reader in consumers):
            self.deferred[node.name] = node
        elif not consumers:
            self._add_logits(operation, node)
        else:
            self._add_codes(operation, node)

    def _add_logits(self, operation: floats.Linear, node: Node) -> None:
        signal = self.signals[node.inputs[0]]
        folded = operation.weight.astype(np.float64) * signal.scale
        peaks = np.abs(folded).max(axis=1)
        grid = float(np.median(peaks[peaks > 0], axis=0)) / (127 * 64) if peaks.any() else 1.0
        bias = np.zeros(len(folded)) if operation.bias is None else operation.bias / grid
        self._populate(node, Accumulator(_rounded(bias)), np.full(1, grid))
        self._project(node.inputs[0], node.name, self._onto_grid(operation.weight, signal.scale, grid))

    def _add_codes(self, operation: floats.Linear, node: Node) -> None:
        settings = self.settings
        kind = role(self.graph, node)
        high = settings.wide_high if kind in WIDE_ROLES else settings.high
        scale = self.ranges.range(node) / high
        signal = self.signals[node.inputs[0]]
        folded = operation.weight.astype(np.float64) * signal.scale
        peak = np.maximum(np.abs(folded).max(axis=1), 1e-30)
        finest = peak / settings.weight_high  # a unit of drive: were a code finer, weights would be clipped
        shared = kind in ("gate_in", "unturned")  # their channels share units, so all of them grow
        scale = scale * max(1.0, float((finest / scale).max())) if shared else np.maximum(scale, finest)
        largest = BIAS_LIMIT // (high + 1)  # so that a bias that its code can express is one that fits
        theta = np.clip(np.floor(scale * settings.weight_high / peak), 1, largest)
        unit = scale / theta
        matrix = np.clip(np.rint(folded / unit[:, None]), -settings.weight_high, settings.weight_high)
        bias = np.zeros(len(theta)) if operation.bias is None else operation.bias / unit
        self._populate(node, Threshold(theta.astype(np.int32), _rounded(bias), -high, high), scale)
        dense = Dense(np.ascontiguousarray(matrix.T.astype(np.int8)), np.ones(len(theta), np.int32))
        self._project(node.inputs[0], node.name, dense)

    @add.register
    def _(self, operation: floats.RMSNorm, node: Node) -> None:
        settings = self.settings
        scale = self._code_scale(node)
        gain = _integers(operation.weight.astype(np.float64) / scale * 2**FRACTION_BITS)
        epsilon = int(np.rint(operation.epsilon / self.grid**2 * 4.0**FRACTION_BITS))
        self._populate(node, RMSNorm(gain, epsilon, -settings.high, settings.high), scale)
        self._project(node.inputs[0], node.name, OneToOne(len(gain)))

    @add.register
    def _(self, operation: floats.Rotary, node: Node) -> None:
        angles = operation.angles(0, self.graph.context)
        cosine, sine = (np.rint(turn(angles) * UNIT).astype(np.int32) for turn in (np.cos, np.sin))
        unit = self.signals[node.inputs[0]].scale / UNIT
        theta = _threshold(self._code_scale(node) / unit)
        high = self.settings.high
        self._populate(node, Threshold(theta, np.zeros_like(theta), -high, high), theta * unit)
        self._project(node.inputs[0], node.name, Rotary(operation.heads, cosine, sine))

    def _code_scale(self, node: Node) -> Doubles:
        """(channels,) worth of one unit of an 8-bit (or narrower) code."""
        return self.ranges.range(node) / self.settings.high

    @add.register
    def _(self, operation: floats.Attention, node: Node) -> None:
        settings, context = self.settings, self.graph.context
        heads, groups = operation.heads, operation.groups
        query, key, value = (self.signals[name] for name in node.inputs)
        width = len(query.scale) // heads
        share = key.scale.reshape(groups, width).repeat(heads // groups, axis=0)
        worth = (query.scale.reshape(heads, width) * share).mean(axis=1) / np.sqrt(width)
        multiplier = _integers(worth * np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS))
        top = 2**settings.probability_bits - 1
        scores = f"{node.name}_probability"
        self.populations.append(Population(scores, Softmax(multiplier, context, top), np.full(1, 1 / top)))
        keys = KeyMemory(heads, groups, width, context)
        self.projections.append(Projection(query.population, scores, keys, writer=key.population))
        unit = value.scale.reshape(groups, width).repeat(heads // groups, axis=0).reshape(-1) / top
        wanted = self._code_scale(node)
        theta = _threshold(wanted / unit)
        neuron = Threshold(theta, np.zeros_like(theta), -settings.high, settings.high)
        self._populate(node, neuron, theta * unit)
        values = ValueMemory(heads, groups, width, context)
        self.projections.append(Projection(scores, node.name, values, writer=value.population))

    @add.register
    def _(self, operation: floats.Gate, node: Node) -> None:
        settings = self.settings
        gate, value = (self.signals[name] for name in node.inputs)
        high = settings.wide_high
        points = floats.ACTIVATIONS[operation.activation](np.arange(-high, high + 1) * gate.scale[0])
        unit = float(np.abs(points).max()) / TABLE_PEAK
        table = np.rint(points / unit).astype(np.int32)
        wanted = self._code_scale(node)
        theta = _threshold(wanted / (unit * value.scale))
        neuron = Gate(table, -high, theta, -settings.high, settings.high)
        self._populate(node, neuron, theta * unit * value.scale)
        for operand, signal in zip(neuron.operands, (gate, value), strict=True):
            self.projections.append(Projection(signal.population, node.name, OneToOne(len(theta)), operand))

    @add.register
    def _(self, operation: floats.Add, node: Node) -> None:
        size = self.ranges.peaks[node.name].shape[1]
        bias = np.zeros(size)
        for name in node.inputs:
            linear = self.deferred[name].operation if name in self.deferred else None
            if isinstance(linear, floats.Linear) and linear.bias is not None:
                bias = bias + linear.bias / self.grid
        self._populate(node, Accumulator(_rounded(bias)), np.full(1, self.grid))
        for name in node.inputs:
            if name in self.deferred:
                source = self.deferred[name].inputs[0]
                linear = self.deferred[name].operation
                scale = self.signals[source].scale
                self._project(source, node.name, self._onto_grid(linear.weight, scale, self.grid))  # type: ignore[attr-defined]
            else:
                self._project(name, node.name, OneToOne(size))

    def _onto_grid(self, weight: Floats, scale: Doubles, grid: float) -> Dense:
        """Weights whose drive counts in whole units of a grid: matrix * gain * grid is what they are worth."""
        high = self.settings.weight_high
        folded = weight.astype(np.float64) * scale
        # a gain that is held to int32 makes a drive beyond it, which the network refuses
        gain = np.clip(np.ceil(np.abs(folded).max(axis=1) / (high * grid)), 1, INT32_MAX)
        matrix = np.clip(np.rint(folded / (gain * grid)[:, None]), -high, high)
        return Dense(np.ascontiguousarray(matrix.T.astype(np.int8)), gain.astype(np.int32))

    def _populate(self, node: Node, neuron: Any, scale: Doubles) -> None:
        self.populations.append(Population(node.name, neuron, scale))
        self.signals[node.name] = Signal(node.name, scale)

    def _project(self, source: str, target: str, synapse: Any) -> None:
        self.projections.append(Projection(self.signals[source].population, target, synapse))


def _integers(values: Doubles) -> npt.NDArray[np.int64]:
    """Rounded; what is beyond int64 is held to a number that every neuron refuses."""
    return np.asarray(np.rint(np.clip(values, -(2.0**62), 2.0**62)), dtype=np.int64)


def _threshold(values: Doubles) -> npt.NDArray[np.int32]:
    return np.asarray(np.clip(np.rint(values), 1, INT32_MAX), dtype=np.int32)


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.asarray(np.rint(np.clip(values, -BIAS_LIMIT, BIAS_LIMIT)), dtype=np.int32)
