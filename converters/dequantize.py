"""Dequantize: a network back to a float graph whose weights are what the integers are worth.

Every population becomes the node of its name, and its codes are noted there (`Node.codes`). To carry a further model,
register what it is worth: a neuron with `restore`, a synapse with `term`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import numpy.typing as npt

from snngen import neurons, synapses
from snngen.converters.graph import Codes, Graph
from snngen.converters.operations import (
    ACTIVATIONS,
    Add,
    Attention,
    Embedding,
    Floats,
    Gate,
    GroupNorm,
    Linear,
    Operation,
    Pointwise,
    Position,
    Products,
    RMSNorm,
    Rotary,
    Scale,
)
from snngen.errors import UnsupportedError
from snngen.integers import FloatArray
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate as GateNeuron
from snngen.neurons.group_norm import GroupNorm as GroupNormNeuron
from snngen.neurons.pointwise import Pointwise as PointwiseNeuron
from snngen.neurons.product_sum import ProductSum
from snngen.neurons.rms_norm import FRACTION_BITS
from snngen.neurons.rms_norm import RMSNorm as RMSNormNeuron
from snngen.neurons.softmax import SHIFT, Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.powers import TABLE_BITS
from snngen.synapses.dense import Dense
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.position import Position as PositionSynapse
from snngen.synapses.rotary import UNIT
from snngen.synapses.rotary import Rotary as RotarySynapse
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory

Doubles = npt.NDArray[np.float64]

TOLERANCE = 1e-3  # relative, between scales that should cancel
SLOWEST = 1e-3  # radians over a whole context, below which tables hardly show that a channel turns


def dequantize(network: Network) -> Graph:
    """The float graph that a network is the integers of.

    A linear map's weight is matrix * gain * worth of a unit of drive / scale of the codes that it reads, and so on: run
    in floats, only the rounding and clipping of codes are missing. Where several maps drive one population, each is a
    node under its projection's name.
    returns: a graph; `Node.codes` hold each population's scale and range (None for potentials).
    raises: UnsupportedError with everything in the network that is not carried.
    """
    restoration = Restoration(network)
    for population in network.populations:
        restoration.add(population)
    if network.output != network.populations[-1].name:
        restoration.wrong.append(f"output {network.output} (only the last population)")
    if restoration.wrong:
        raise UnsupportedError("network", "; ".join(restoration.wrong), "populations and synapses that are carried")
    return restoration.graph


class Restoration:
    """A float graph that grows population by population.

    graph: so far. wrong: complaints about what is not carried. nodes: population -> the node that has its value.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph = Graph(
            network.vocabulary,
            network.context,
            tokenizer=network.tokenizer,
            begin=network.begin,
            end=network.end,
            provenance={**network.provenance, "network_sha256": network.digest},
        )
        self.wrong: list[str] = []
        self.nodes: dict[str, str] = {}
        self.failed: set[str] = set()

    def add(self, population: Population) -> None:
        """Restore one population, or note why it cannot be; what depends on one that cannot is not judged."""
        into = self.network.into(population.name)
        if self.failed & {name for projection in into for name in (projection.source, projection.writer)}:
            self.failed.add(population.name)
            return
        try:
            delayed = [projection.name for projection in into if projection.delayed]
            if delayed:
                raise refusal(f"delayed projections {', '.join(delayed)}")
            restore(population.neuron, population, self)
        except UnsupportedError as error:
            self.wrong.append(f"{population.name}: {error.got}")
            self.failed.add(population.name)

    def worth(self, name: str) -> Doubles:
        """(size,) float64: what a unit of each code of a population is worth."""
        population = self.network[name]
        return np.broadcast_to(np.asarray(population.scale, np.float64), (population.size,))

    def place(self, population: Population, operation: Operation, *inputs: str) -> None:
        """Append the node of a population. inputs: names of nodes."""
        scale = np.asarray(population.scale, np.float64)
        codes = None if population.neuron.wide else Codes(scale, *population.neuron.range)
        self.nodes[population.name] = self.graph.add(population.name, operation, *inputs, codes=codes)

    def only(self, population: Population, operand: str = "drive") -> Projection:
        """The one projection into an operand, neuron to neuron."""
        into = [projection for projection in self.network.into(population.name) if projection.operand == operand]
        if len(into) != 1 or not isinstance(into[0].synapse, OneToOne):
            raise refusal(f"{operand} by {', '.join(projection.synapse.kind for projection in into)}")
        return into[0]

    def normed(self, population: Population) -> tuple[str, float]:
        """The node that a norm reads, and what a unit of its drive is worth, the same for all neurons."""
        into = self.network.into(population.name)
        if len(into) != 1 or not isinstance(into[0].synapse, OneToOne | Diagonal):
            raise refusal(f"a norm of {', '.join(projection.synapse.kind for projection in into)}")
        synapse = into[0].synapse
        weight = synapse.weight if isinstance(synapse, Diagonal) else np.ones(population.size)
        unit = self.worth(into[0].source) / np.maximum(np.abs(weight), 1)
        mean = float(np.median(unit))
        if (weight < 1).any():
            raise refusal("a norm of weights below 1")
        slack = TOLERANCE + 0.5 / float(np.min(weight)) if isinstance(synapse, Diagonal) else TOLERANCE
        require_equal(unit, mean, "scales of what is normed", slack)
        return self.nodes[into[0].source], mean

    def gather(self, population: Population, unit: Doubles, bias: FloatArray, rectified: bool = False) -> None:
        """Place a population that adds up what drives it.

        unit: (size,) what a unit of drive is worth. bias: (size,) floats. rectified: nothing below zero is sent.
        """
        terms = [term(projection.synapse, projection, unit, self) for projection in self.network.into(population.name)]
        rest = np.asarray(bias, dtype=np.float32)
        for index, part in enumerate(terms):
            if isinstance(part.operation, Linear | Embedding) and rest.any():
                terms[index] = replace(part, operation=_biased(part.operation, rest))
                rest = np.zeros_like(rest)
        operation, inputs = self._sum(population, terms, rest)
        if rectified:
            inputs = (self.graph.add(f"{population.name}.drive", operation, *inputs),)
            operation = Pointwise("relu")
        self.place(population, operation, *inputs)

    def _sum(self, population: Population, terms: list[Term], bias: Floats) -> tuple[Operation, tuple[str, ...]]:
        """One operation that adds terms and bias, and what it reads; where there are several terms, they are nodes."""
        ones = np.ones(population.size, dtype=np.float32)
        if len(terms) == 1 and not bias.any():
            return terms[0].operation or Scale((ones,)), terms[0].inputs
        projections = self.network.into(population.name)
        names = tuple(
            part.inputs[0] if part.operation is None else self.graph.add(projection.name, part.operation, *part.inputs)
            for part, projection in zip(terms, projections, strict=True)
        )
        return Scale((ones,) * len(names), bias) if bias.any() else Add(), names


@dataclass(frozen=True)
class Term:
    """What a projection adds: an operation (None: the value as it is) and the nodes that it reads."""

    operation: Operation | None
    inputs: tuple[str, ...]


def refusal(what: str) -> UnsupportedError:
    """The complaint that a population is not carried."""
    return UnsupportedError("dequantize", what, "something that a float graph expresses")


def require_equal(found: npt.ArrayLike, expected: npt.ArrayLike, what: str, tolerance: float = TOLERANCE) -> None:
    """Refuse scales that should cancel and do not.

    raises: UnsupportedError.
    """
    if not np.allclose(found, expected, rtol=tolerance, atol=0):
        raise refusal(f"{what} that do not cancel")


def _biased(operation: Linear | Embedding, bias: Floats) -> Operation:
    if isinstance(operation, Embedding):
        return Embedding(operation.weight + bias)
    return replace(operation, bias=bias)


@singledispatch
def restore(neuron: neurons.Neuron, population: Population, restoration: Restoration) -> None:
    """Append what a population computes to the graph.

    raises: UnsupportedError for a model that is not carried.
    """
    raise refusal(f"{neuron.kind} neurons")


@restore.register
def _(neuron: Source, population: Population, restoration: Restoration) -> None:
    if population is not restoration.network.sources[0] or neuron.range != (0, 1):
        raise refusal("a source that is not the one of tokens")
    restoration.nodes[population.name] = restoration.graph.entry


@restore.register
def _(neuron: Accumulator, population: Population, restoration: Restoration) -> None:
    unit = restoration.worth(population.name)
    restoration.gather(population, unit, neuron.bias * unit)


@restore.register
def _(neuron: Threshold, population: Population, restoration: Restoration) -> None:
    unit = restoration.worth(population.name) / neuron.theta
    restoration.gather(population, unit, neuron.bias * unit, rectified=neuron.low == 0)


@restore.register
def _(neuron: RMSNormNeuron, population: Population, restoration: Restoration) -> None:
    source, unit = restoration.normed(population)
    weight = neuron.gain * restoration.worth(population.name) / 2**FRACTION_BITS
    epsilon = neuron.epsilon * unit**2 / 4.0**FRACTION_BITS
    restoration.place(population, RMSNorm(weight.astype(np.float32), epsilon), source)


@restore.register
def _(neuron: GroupNormNeuron, population: Population, restoration: Restoration) -> None:
    source, unit = restoration.normed(population)
    worth = restoration.worth(population.name) / 2**FRACTION_BITS
    weight, bias = ((values * worth).astype(np.float32) for values in (neuron.gain, neuron.bias))
    epsilon = neuron.epsilon * unit**2 / 4.0**FRACTION_BITS
    norm = GroupNorm(weight, bias if bias.any() else None, epsilon, neuron.blocks, bool(neuron.centred))
    restoration.place(population, norm, source)


@restore.register
def _(neuron: PointwiseNeuron, population: Population, restoration: Restoration) -> None:
    source = restoration.only(population).source
    scale = restoration.worth(source)
    require_equal(scale, scale[0], "scales of a table's codes")
    unit = restoration.worth(population.name) / neuron.theta
    require_equal(unit, unit[0], "scales of a table and theta")
    points = np.arange(neuron.first, neuron.first + neuron.table.size) * scale[0]
    function = function_of(neuron.table * float(unit[0]), points, float(unit[0]))
    restoration.place(population, Pointwise(function), restoration.nodes[source])


@restore.register
def _(neuron: ProductSum, population: Population, restoration: Restoration) -> None:
    sources = [restoration.only(population, operand).source for operand in neuron.operands]
    unit = restoration.worth(population.name) / neuron.theta
    weights = tuple(
        (multiplier * unit / (restoration.worth(a) * restoration.worth(b))).astype(np.float32)
        for multiplier, a, b in zip(neuron.multiplier, sources[::2], sources[1::2], strict=True)
    )
    restoration.place(population, Products(weights), *(restoration.nodes[source] for source in sources))


@restore.register
def _(neuron: GateNeuron, population: Population, restoration: Restoration) -> None:
    gate, value = (restoration.only(population, operand).source for operand in neuron.operands)
    scale = restoration.worth(gate)
    require_equal(scale, scale[0], "scales of the gate's codes")
    unit = restoration.worth(population.name) / (neuron.theta * restoration.worth(value))
    require_equal(unit, unit[0], "scales of the gate's value and theta")
    points = np.arange(neuron.first, neuron.first + neuron.table.size) * scale[0]
    function = function_of(neuron.table * float(unit[0]), points, float(unit[0]))
    restoration.place(population, Gate(function), restoration.nodes[gate], restoration.nodes[value])


@restore.register
def _(neuron: Softmax, population: Population, restoration: Restoration) -> None:
    """Part of an attention, which is placed where its values are mixed."""
    into = restoration.network.into(population.name)
    if len(into) != 1 or not isinstance(into[0].synapse, KeyMemory):
        raise refusal("a softmax over something else than keys")


def function_of(table: FloatArray, points: FloatArray, unit: float) -> str:
    """The name of the activation whose values at `points` are a table's, to one `unit`.

    raises: UnsupportedError where none is.
    """
    errors = {name: float(np.abs(function(np.asarray(points)) - table).max()) for name, function in ACTIVATIONS.items()}
    nearest = min(errors, key=lambda name: errors[name])
    if errors[nearest] > unit:
        raise refusal(f"a table of no known function (nearest: {nearest})")
    return nearest


@singledispatch
def term(synapse: synapses.Synapse, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    """What a projection adds to its target. unit: (size,) what a unit of the target's drive is worth.

    raises: UnsupportedError for a model that is not carried.
    """
    raise refusal(f"{synapse.kind} synapses")


@term.register(Dense)
@term.register(Packed)
@term.register(Sparse)
def _(synapse: Dense | Packed | Sparse, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    source = restoration.nodes[projection.source]
    weight = synapse.matrix.T * (synapse.gain * unit)[:, None] / restoration.worth(projection.source)
    if source == restoration.graph.entry:
        return Term(Embedding(np.ascontiguousarray(weight.T.astype(np.float32))), (source,))
    return Term(Linear(np.ascontiguousarray(weight.astype(np.float32))), (source,))


@term.register
def _(synapse: OneToOne, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    ratio = unit / restoration.worth(projection.source)
    same = np.allclose(ratio, 1, rtol=1e-9, atol=0)
    return Term(None if same else Scale((ratio.astype(np.float32),)), (restoration.nodes[projection.source],))


@term.register
def _(synapse: Diagonal, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    weight = synapse.weight * unit / restoration.worth(projection.source)
    return Term(Scale((weight.astype(np.float32),)), (restoration.nodes[projection.source],))


@term.register
def _(synapse: PositionSynapse, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    source = restoration.nodes[projection.source]
    if source != restoration.graph.entry:
        raise refusal("positions of something else than tokens")
    return Term(Position((synapse.table * (synapse.gain * unit)).astype(np.float32)), (source,))


@term.register
def _(synapse: RotarySynapse, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    require_equal(restoration.worth(projection.source) / UNIT, unit, "scales before and after the turn")
    turning = Rotary(synapse.heads, frequencies(synapse.cosine, synapse.sine))
    return Term(turning, (restoration.nodes[projection.source],))


@term.register
def _(synapse: ValueMemory, projection: Projection, unit: Doubles, restoration: Restoration) -> Term:
    softmax = restoration.network[projection.source].neuron
    if not isinstance(softmax, Softmax):
        raise refusal("values mixed by something else than a softmax")
    (scores,) = restoration.network.into(projection.source)
    heads, groups, width = synapse.heads, synapse.groups, synapse.width
    value, query, key = (str(name) for name in (projection.writer, scores.source, scores.writer))
    shared = restoration.worth(value).reshape(groups, width).repeat(heads // groups, axis=0)
    require_equal(shared.reshape(-1) / softmax.high, unit, "scales of values and of their mixture")
    keys = restoration.worth(key).reshape(groups, width).repeat(heads // groups, axis=0)
    worth = restoration.worth(query).reshape(heads, width) * keys
    mean = worth.mean(axis=1)
    require_equal(worth, mean[:, None], "scales of queries and keys", 10 * TOLERANCE)
    scale = softmax.multiplier / (np.log2(np.e) * 2.0 ** (SHIFT + TABLE_BITS)) / mean
    slack = TOLERANCE + 0.5 / max(1, int(softmax.multiplier.min()))  # a multiplier is rounded
    usual = 1 / np.sqrt(width)
    given = None if np.allclose(scale, usual, rtol=slack, atol=0) else float(scale.mean())
    require_equal(scale, usual if given is None else given, "score scales of the heads", slack)
    nodes = restoration.nodes
    return Term(Attention(heads, groups, given), (nodes[query], nodes[key], nodes[value]))


def frequencies(cosine: npt.ArrayLike, sine: npt.ArrayLike) -> Doubles:
    """Radians per position of each pair of channels, from its tables.

    cosine, sine: (context, pairs) integers in units of 2**-14. The angles are followed from position 1 on, doubling;
    where a power law theta**(-2 i / width) with a round theta gives these very tables, it is taken.
    returns: (pairs,) float64.
    raises: UnsupportedError for tables that are no rotation by position times frequency.
    """
    tables = np.stack((np.asarray(cosine, np.float64), np.asarray(sine, np.float64)))
    context, pairs = tables.shape[1:]
    found = np.zeros(pairs)
    for place in sorted(
        {2**power for power in range(context.bit_length()) if 2**power < context} | {context - 1} - {0}
    ):
        angle = np.arctan2(tables[1, place], tables[0, place])
        found = (angle + 2 * np.pi * np.rint((found * place - angle) / (2 * np.pi))) / place
    for candidate in [*_power_laws(found, context), found]:
        turned = np.outer(np.arange(context), candidate)
        again = np.rint(np.stack((np.cos(turned), np.sin(turned))) * UNIT)
        if np.abs(again - tables).max() <= (1 if candidate is found else 0):
            return candidate
    raise refusal("rotary tables that turn by no constant frequency")


def _power_laws(found: Doubles, context: int) -> list[Doubles]:
    """Power laws near these frequencies, the one with the roundest theta first.

    Channels that seem to stand still may be the slowest of all, or not turn.
    """
    pairs, moving = len(found), int((np.abs(found) * max(1, context - 1) > SLOWEST).sum())
    known, place = found[:moving], np.arange(moving)
    if moving < 2 or known.min() <= 0:
        return []
    laws = []
    for turning in dict.fromkeys((pairs, moving)):
        exponents = -np.arange(turning) / turning
        weights = known**2  # angles are known to the same error each
        powers = (weights * exponents[place] * np.log(known)).sum() / (weights * exponents[place] ** 2).sum()
        theta = float(np.exp(np.clip(powers, 0, 50)))
        rounded = dict.fromkeys(round(theta, places - int(np.log10(theta))) for places in range(9))
        still = np.zeros(pairs - turning)
        laws += [np.concatenate((base**exponents, still)) for base in rounded if base > 0]
    return laws
