"""Builder: collects populations and projections while the quantizer walks a float graph.

Every scale is chosen here or in `lowering/`, from the values that the float graph takes on the calibration tokens; at
run time nothing is scaled, the thresholds are the scales.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.converters.calibrate import Ranges
from snngen.converters.coding import limits, role
from snngen.converters.compensation import Correction
from snngen.converters.graph import BEFORE, Graph, Node
from snngen.converters.operations import Add, Embedding, Operation
from snngen.converters.settings import Settings
from snngen.errors import UnsupportedError
from snngen.integers import INT32_MAX
from snngen.network import Network, Population, Projection
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses import Synapse
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.one_to_one import OneToOne

Doubles: TypeAlias = npt.NDArray[np.floating[Any]]

STREAM_PEAK = 2**21  # calibrated peak of the residual stream, a quarter of the 24 bits that a norm reads
BIAS_LIMIT = 2**30  # beyond, a bias is held to it: half of int32, the rest is for the drive
RESCALE = 2**14  # threshold of neurons that bring codes from one scale to another
BROKEN = 0.01  # of the largest scale: readers of the token before were promised another one


@dataclass(frozen=True)
class Signal:
    """Where a float value lives in the network: a population, and what one unit of each code is worth.

    high: largest magnitude of its codes; 0 where it is a potential on the grid of the residual stream.
    """

    population: str
    scale: Doubles
    high: int = 0

    @property
    def potential(self) -> bool:
        """Whether it is a potential, which has no code."""
        return self.high == 0

    @property
    def uniform(self) -> bool:
        """True where all channels share a unit."""
        return bool(np.ptp(self.scale) <= 1e-12 * self.scale[0])

    @property
    def before(self) -> Signal:
        """The same, one token later."""
        return replace(self, population=BEFORE + self.population)


@singledispatch
def lower(operation: Operation, node: Node, builder: Builder) -> None:
    """Turn one node into populations and projections; each file of `lowering/` registers its operations."""
    raise UnsupportedError(f"node {node.name}", type(operation).__name__, "an operation that the quantizer carries")


@singledispatch
def lower_potentials(operation: Operation, node: Node, builder: Builder) -> None:
    """Turn a map that nothing rounds or reads into a population of potentials: the logits, a result."""
    raise UnsupportedError(f"node {node.name}", type(operation).__name__, "a linear map or a convolution")


@singledispatch
def lower_codes(operation: Operation, node: Node, target: Node, builder: Builder) -> None:
    """Turn a linear map into the population of `target` that rounds it: its own node, or the ReLU that reads it."""
    raise UnsupportedError(f"node {node.name}", type(operation).__name__, "a linear map or a convolution")


@singledispatch
def lower_drive(operation: Operation, node: Node, target: Node, builder: Builder) -> Doubles:
    """Let a map drive the residual stream `target` directly; returns its bias, (channels,) in units of the grid."""
    raise UnsupportedError(f"node {node.name}", type(operation).__name__, "a linear map, a convolution or positions")


class Builder:
    """A network under way.

    graph, ranges, settings: what to build from. signals: by name of the value. deferred: linear nodes that drive the
    residual stream directly, or whose threshold is the ReLU that reads them. grid: worth of one unit of the stream.
    notes: what the conversion report has to say. corrections: by name of the node, where rounding compensates.
    promised: what readers of the token before took a value for that was not built yet.
    """

    def __init__(self, graph: Graph, ranges: Ranges, settings: Settings) -> None:
        self.graph, self.ranges, self.settings = graph, ranges, settings
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.signals: dict[str, Signal] = {}
        self.deferred: dict[str, Node] = {}
        self.notes: list[str] = []
        self.corrections: dict[str, Correction] = {}
        self.promised: dict[str, Signal] = {}
        streams = [node.name for node in graph.nodes if isinstance(node.operation, Add | Embedding)]
        peak = max((float(ranges.peaks[name].max()) for name in streams), default=1.0)
        self.grid = max(peak, 1e-30) / STREAM_PEAK if graph.grid is None else graph.grid
        self._enter()

    def _enter(self) -> None:
        graph = self.graph
        if not graph.channels:
            self.append("token", Source(graph.vocabulary, one_hot=1), np.ones(graph.vocabulary))
            self.signals["tokens"] = Signal("token", np.ones(graph.vocabulary), 1)
            return
        low, high = (graph.codes.low, graph.codes.high) if graph.codes else (-self.settings.high, self.settings.high)
        scale = graph.codes.scale if graph.codes else self.ranges.entry() / high
        scale = np.broadcast_to(scale, (graph.channels,)).astype(np.float64)
        self.append("input", Source(graph.channels, low, high), scale)
        self.signals["input"] = Signal("input", scale, max(-low, high))

    def network(self, tokens: npt.NDArray[Any]) -> Network:
        """The finished network; tokens: the calibration, for the provenance."""
        graph = self.graph
        result = self.signals[graph.nodes[-1].name]
        provenance = {
            **graph.provenance,
            "quantizer": asdict(self.settings),
            "calibration_tokens": int(np.prod(tokens.shape[:2])),
            "ranges": {kind: list(choice) for kind, choice in self.ranges.choices.items()},
            "notes": [*graph.notes, *self.notes],
        }
        return Network(
            tuple(self.populations),
            tuple(self.projections),
            output=result.population,
            tokenizer=graph.tokenizer,
            begin=graph.begin,
            end=graph.end,
            provenance=provenance,
            picture=graph.picture,
            picture_range=graph.picture_range,
        )

    def append(self, name: str, neuron: Neuron, scale: Doubles) -> None:
        """Add a population that stands for no value of the graph."""
        self.populations.append(Population(name, neuron, scale))

    def populate(self, node: Node, neuron: Neuron, scale: Doubles) -> None:
        """Add the population that stands for a node's value.

        raises: UnsupportedError where its codes are not worth what readers of the token before took them for.
        """
        self.append(node.name, neuron, scale)
        low, high = neuron.range
        wide = isinstance(neuron, Accumulator)
        self.signals[node.name] = Signal(node.name, scale, 0 if wide else max(-low, high))
        promised = self.promised.get(node.name)
        if promised is not None and np.abs(promised.scale - scale).max() > BROKEN * promised.scale.max():
            raise UnsupportedError(
                f"node {node.name}", "weights that cancel, so that its codes are coarser than what reads it one token "
                "later expects", "codes as fine as calibrated",
            )  # fmt: skip

    def project(
        self, source: str, target: str, synapse: Synapse, operand: str = "drive", writer: str | None = None
    ) -> None:
        """Add a projection between populations; a source ``~population`` makes it a delayed one."""
        delayed = source.startswith(BEFORE)
        self.projections.append(Projection(source.removeprefix(BEFORE), target, synapse, operand, writer, delayed))

    def limits(self, node: Node) -> tuple[int, int]:
        """Smallest and largest code of a node."""
        return limits(self.graph, node, self.settings)

    def scale(self, node: Node) -> Doubles:
        """(channels,) worth of one unit of a node's codes, as calibrated or as the source fixes it."""
        if node.codes is not None:
            return np.broadcast_to(node.codes.scale, (self.graph.width(node.name),)).astype(np.float64)
        low, high = self.limits(node)
        return self.ranges.range(node) / max(-low, high)

    def signal(self, name: str) -> Signal:
        """The value as it lives in the network; ``~name`` where it is the one of the token before.

        A population of ``~name`` is spelled ``~population``: `project` makes a delayed projection of it.
        """
        if not name.startswith(BEFORE):
            return self.signals[name]
        plain = name.removeprefix(BEFORE)
        if plain in self.signals:
            return self.signals[plain].before
        node = self.graph.node(plain)
        if role(self.graph, node) is None:
            raise UnsupportedError(
                f"node {plain}", "a sum that what it is made of reads one token later", "codes",
                "Add a Scale of ones that reads it, and read that one token later",
            )  # fmt: skip
        # not built yet: what is promised here is what `scale` and `limits` give when it is, and `populate` checks
        self.promised[plain] = Signal(plain, self.scale(node), max(np.abs(self.limits(node))))
        return self.promised[plain].before

    def codes(self, name: str) -> Signal:
        """The value as codes; a potential is read by a population of its own first, once."""
        signal = self.signal(name)
        if not signal.potential:
            return signal
        plain = name.removeprefix(BEFORE)
        read = f"{plain}.read"
        if read not in self.signals:
            high = self.settings.high
            theta = threshold(self.ranges.range(self.graph.node(plain)) / high / self.grid)
            self.append(read, Threshold(theta, np.zeros_like(theta), -high, high), theta * self.grid)
            self.project(self.signals[plain].population, read, OneToOne(len(theta)))
            self.signals[read] = Signal(read, theta * self.grid, high)
        known = self.signals[read]
        return known if name == plain else known.before

    def table_input(self, name: str) -> Signal:
        """The value as codes whose channels share a unit, so that one table serves them all; rescaled where needed."""
        plain = name.removeprefix(BEFORE)
        if plain in self.signals and name != plain:
            return self.table_input(plain).before
        signal = self.signal(name)
        if not signal.potential and signal.uniform:
            return signal
        high, read = self.settings.wide_high, f"{plain}.table" if name == plain else f"{plain}.before.table"
        if read not in self.signals:
            scale = np.full(self.graph.width(plain), self.ranges.peak(plain).max() * 1.5 / high)
            self.append(read, rescaled(scale, high, signal.potential, self.grid), scale)
            self.project(signal.population, read, self.rescale(signal, scale))
            self.signals[read] = Signal(read, scale, high)
        return self.signals[read]

    def rescale(self, signal: Signal, scale: Doubles) -> Synapse:
        """Synapses that bring a value to thresholds made by `rescaled` for another scale."""
        if signal.potential:
            return OneToOne(len(scale))
        return Diagonal(np.rint(signal.scale / scale * RESCALE).astype(np.int32))

    def wide_input(self, name: str) -> tuple[str, Synapse, float]:
        """The population, synapses and unit by which a norm reads a value on one fine grid."""
        signal = self.signal(name)
        if signal.potential:
            return signal.population, OneToOne(self.graph.width(name.removeprefix(BEFORE))), self.grid
        unit = float(signal.scale.max()) * signal.high / STREAM_PEAK
        return signal.population, Diagonal(np.rint(signal.scale / unit).astype(np.int32)), unit


def rescaled(scale: Doubles, high: int, potential: bool, grid: float) -> Threshold:
    """Neurons that round a value to codes of another scale, driven through `Builder.rescale`."""
    theta = threshold(scale / grid) if potential else np.full(len(scale), RESCALE, dtype=np.int32)
    return Threshold(theta, np.zeros_like(theta), -high, high)


def integers(values: Doubles) -> npt.NDArray[np.int64]:
    """Rounded; what is beyond int64 is held to a number that every neuron refuses."""
    return np.asarray(np.rint(np.clip(values, -(2.0**62), 2.0**62)), dtype=np.int64)


def threshold(values: Doubles) -> npt.NDArray[np.int32]:
    """Rounded thresholds, at least 1."""
    return np.asarray(np.clip(np.rint(values), 1, INT32_MAX), dtype=np.int32)


def bias(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Rounded biases, held to half of int32."""
    return np.asarray(np.rint(np.clip(values, -BIAS_LIMIT, BIAS_LIMIT)), dtype=np.int32)
