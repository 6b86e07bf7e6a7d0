"""Random small networks for the tests: every kind of population, built from integers directly."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.group_norm import GroupNorm
from snngen.neurons.pointwise import Pointwise
from snngen.neurons.product_sum import ProductSum
from snngen.neurons.rms_norm import RMSNorm
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.broadcast import Broadcast
from snngen.synapses.convolution import Convolution
from snngen.synapses.dense import Dense
from snngen.synapses.diagonal import Diagonal
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.position import Position
from snngen.synapses.rotary import UNIT, Rotary
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory


def dense(rng: np.random.Generator, sources: int, targets: int, largest_gain: int = 1) -> Dense:
    matrix = rng.integers(-127, 128, (sources, targets)).astype(np.int8)
    return Dense(matrix, rng.integers(1, largest_gain + 1, targets).astype(np.int32))


def threshold(rng: np.random.Generator, size: int, peak: int, high: int = 127, low: int | None = None) -> Threshold:
    """Thresholds such that drives up to about `peak` span the codes, and some beyond."""
    theta = rng.integers(1, max(2, 2 * peak // high), size).astype(np.int32)
    bias = rng.integers(-peak // 4, peak // 4 + 1, size).astype(np.int32)
    return Threshold(theta, bias, -high if low is None else low, high)


def random_transformer(
    seed: int, layers: int = 1, vocabulary: int = 11, dim: int = 6, heads: int = 2, groups: int = 1, width: int = 4,
    hidden: int = 7, context: int = 9,
) -> Network:  # fmt: skip
    """A LLaMA-shaped network with random weights, thresholds, gains and tables."""
    rng = np.random.default_rng(seed)
    populations = [
        Population("token", Source(vocabulary)),
        Population("embedding", Accumulator(rng.integers(-50, 50, dim).astype(np.int32))),
    ]
    projections = [Projection("token", "embedding", dense(rng, vocabulary, dim, 2000))]

    def add(name: str, neuron, *inputs) -> str:
        populations.append(Population(name, neuron))
        for source, synapse, *rest in inputs:
            projections.append(Projection(source, name, synapse, *rest))
        return name

    def norm() -> RMSNorm:
        return RMSNorm(rng.integers(2000, 12000, dim), int(rng.integers(0, 10**6)), -127, 127)

    def turn(name: str, source: str, count: int) -> str:
        angles = np.outer(np.arange(context), rng.random(width // 2))
        tables = (np.rint(np.cos(angles) * UNIT).astype(np.int32), np.rint(np.sin(angles) * UNIT).astype(np.int32))
        neuron = threshold(rng, count * width, 1023 * UNIT)
        return add(name, neuron, (source, Rotary(count, *tables)))

    stream = "embedding"
    spread = 127 * 40 * int(np.sqrt(dim))
    for layer in range(layers):
        at = f"layer{layer}"
        normed = add(f"{at}.norm", norm(), (stream, OneToOne(dim)))
        query = add(
            f"{at}.query", threshold(rng, heads * width, spread, 1023), (normed, dense(rng, dim, heads * width))
        )
        key = add(f"{at}.key", threshold(rng, groups * width, spread, 1023), (normed, dense(rng, dim, groups * width)))
        value = add(f"{at}.value", threshold(rng, groups * width, spread), (normed, dense(rng, dim, groups * width)))
        query, key = turn(f"{at}.turned_query", query, heads), turn(f"{at}.turned_key", key, groups)
        shape = (heads, groups, width, context)
        softmax = Softmax(rng.integers(0, 2**23, heads), context, 255)
        share = add(f"{at}.probability", softmax, (query, KeyMemory(*shape), "drive", key))
        mixed = add(
            f"{at}.mixed", threshold(rng, heads * width, 255 * 60), (share, ValueMemory(*shape), "drive", value)
        )
        out = dense(rng, heads * width, dim, 500)
        bias = rng.integers(-50, 50, dim).astype(np.int32)
        stream = add(f"{at}.attended", Accumulator(bias), (stream, OneToOne(dim)), (mixed, out))
        normed = add(f"{at}.feed_norm", norm(), (stream, OneToOne(dim)))
        gate = add(f"{at}.gate", threshold(rng, hidden, spread, 200), (normed, dense(rng, dim, hidden)))
        up = add(f"{at}.up", threshold(rng, hidden, spread, 511), (normed, dense(rng, dim, hidden)))
        table = rng.integers(-2000, 16384, 401).astype(np.int32)
        gated = Gate(table, -200, rng.integers(1, 30000, hidden).astype(np.int32), 0 if layer % 2 else -127, 127)
        fed = add(f"{at}.gated", gated, (gate, OneToOne(hidden), "gate"), (up, OneToOne(hidden), "value"))
        bias = np.zeros(dim, np.int32)
        stream = add(f"{at}.fed", Accumulator(bias), (stream, OneToOne(dim)), (fed, dense(rng, hidden, dim, 500)))
    normed = add("norm", norm(), (stream, OneToOne(dim)))
    populations.append(Population("logits", Accumulator(np.zeros(vocabulary, np.int32)), np.full(1, 1e-5)))
    projections.append(Projection(normed, "logits", dense(rng, dim, vocabulary, 90)))
    return Network(tuple(populations), tuple(projections))


def random_recurrent(seed: int, vocabulary: int = 9, dim: int = 6, heads: int = 2) -> Network:
    """A network with every way to look back: an LSTM-like cell, a matrix state that is read and written, learned
    positions; random weights, thresholds and tables.
    """
    rng = np.random.default_rng(seed)
    populations = [Population("token", Source(vocabulary, one_hot=1))]
    projections = []
    width = dim // heads
    state = heads * width * width

    def add(name: str, neuron, *inputs) -> str:
        populations.append(Population(name, neuron))
        for source, synapse, *rest in inputs:
            projections.append(Projection(source, name, synapse, *rest))
        return name

    def delayed(source: str, synapse, operand: str = "drive") -> tuple:
        return (source, synapse, operand, None, True)

    def product(terms: int, size: int, peak: int, high: int = 127, kept: int = 0) -> ProductSum:
        theta = rng.integers(1, 2 * peak // high, size)
        return ProductSum(rng.integers(-3, 9, (terms, size)), theta, -high, high, kept)

    table = Position(vocabulary, rng.integers(-9, 10, (12, dim)), rng.integers(1, 900, dim))
    embedded = Accumulator(rng.integers(-50, 50, dim).astype(np.int32))
    stream = add("embedding", embedded, ("token", dense(rng, vocabulary, dim, 900)), ("token", table))
    gains = rng.integers(2000, 9000, dim), rng.integers(-9000, 9000, dim)
    normed = add("norm", GroupNorm(*gains, 10**5, 2, 1, -127, 127), (stream, OneToOne(dim)))
    gates = []
    for name in ("input", "forget", "output"):
        wide = threshold(rng, dim, 127 * 200, 200)
        gate = add(name, wide, (normed, dense(rng, dim, dim)), delayed("hidden", dense(rng, dim, dim)))
        sigmoid = Pointwise(np.sort(rng.integers(0, 2000, 401)), -200, rng.integers(8, 40, dim), 0, 255)
        gates.append(add(f"{name}.gate", sigmoid, (gate, OneToOne(dim))))
    gated = (gates[0], OneToOne(dim), "a0"), (normed, OneToOne(dim), "b0")
    past = (gates[1], OneToOne(dim), "a1"), delayed("cell", OneToOne(dim), "b1")
    cell = add("cell", product(2, dim, 127 * 255 * 9, 2**15, 1), *gated, *past)
    shifted = (normed, Diagonal(rng.integers(-99, 99, dim))), delayed("norm", Diagonal(rng.integers(-99, 99, dim)))
    add("shift", threshold(rng, dim, 127 * 99), *shifted)
    read = add("cell.read", threshold(rng, dim, 2**15), (cell, OneToOne(dim)))
    add("hidden", product(1, dim, 127 * 255 * 4), (gates[2], OneToOne(dim), "a0"), (read, OneToOne(dim), "b0"))
    along, across = Broadcast(heads, width, width), Broadcast(heads * width, width, 1)
    before = add("state.before", Accumulator(np.zeros(state, np.int32)), delayed("state", OneToOne(state)))
    matrix = Bilinear(heads, width, width)
    seen = add("seen", threshold(rng, dim, 127 * 2**15), ("shift", matrix, "drive", before))
    kept = ("forget.gate", along, "a0"), (before, OneToOne(state), "b0")
    update = product(3, state, 255 * 2**15 * 9, 2**15, 1)
    add(
        "state",
        update,
        *kept,
        (seen, across, "a1"),
        ("shift", along, "b1"),
        (normed, across, "a2"),
        ("hidden", along, "b2"),
    )
    answer = add("answer", threshold(rng, dim, 127 * 2**15), ("hidden", matrix, "drive", "state"))
    final = (answer, dense(rng, dim, vocabulary, 90)), delayed("answer", dense(rng, dim, vocabulary, 90))
    add("logits", Accumulator(np.zeros(vocabulary, np.int32)), *final)
    return Network(tuple(populations), tuple(projections))


def convolution(
    rng: np.random.Generator, shape: tuple[int, int, int], outputs: int, sides: tuple[int, int] = (3, 3),
    groups: int = 1, transposed: bool = False, largest_gain: int = 1, per_target: bool = False,
    **geometry: tuple[int, int],
) -> Convolution:  # fmt: skip
    """Random kernels over a picture; geometry: stride, padding, dilation, output_padding."""
    ends = (shape[0], outputs // groups) if transposed else (outputs, shape[0] // groups)
    kernel = rng.integers(-127, 128, (*ends, *sides)).astype(np.int8)
    pairs = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0), **geometry}

    def build(targets: int) -> Convolution:
        gain = rng.integers(1, largest_gain + 1, targets).astype(np.int32)
        return Convolution(kernel, gain, np.array(shape), groups=groups, transposed=transposed, **pairs)

    synapse = build(outputs)
    return build(synapse.target_size) if per_target else synapse


def random_decoder(seed: int, vocabulary: int = 9) -> Network:
    """Convolutions of every kind after one another, the last of them recurrent; random weights and thresholds."""
    rng = np.random.default_rng(seed)
    populations = [Population("token", Source(vocabulary, one_hot=1))]
    projections = [Projection("token", "latent", dense(rng, vocabulary, 24))]
    populations.append(Population("latent", threshold(rng, 24, 127)))

    def add(name: str, synapse: Convolution, low: int = -127) -> tuple[int, int, int]:
        projections.append(Projection(populations[-1].name, name, synapse))
        populations.append(Population(name, threshold(rng, synapse.target_size, 127 * 700, 127, low)))
        return synapse.target_shape

    shape = add("up", convolution(rng, (4, 2, 3), 6, (3, 2), 2, True, stride=(2, 2), output_padding=(1, 0)), 0)
    shape = add("down", convolution(rng, shape, 4, groups=2, stride=(2, 1), padding=(1, 1)), 0)
    shape = add("wide", convolution(rng, shape, 3, dilation=(1, 2), padding=(1, 2)))
    again = convolution(rng, shape, 3, padding=(1, 1))
    projections.append(Projection("wide", "wide", again, delayed=True))
    last = convolution(rng, shape, 2, (2, 3), largest_gain=40, per_target=True, transposed=True, padding=(0, 1))
    projections.append(Projection("wide", "last", last))
    populations.append(Population("last", threshold(rng, last.target_size, 127 * 700 * 20)))
    projections.append(Projection("last", "logits", dense(rng, last.target_size, vocabulary, 90)))
    populations.append(Population("logits", Accumulator(rng.integers(-99, 100, vocabulary))))
    return Network(tuple(populations), tuple(projections))


def feed_forward(seed: int, sizes: tuple[int, ...] = (5, 7, 3), low: int = -7, high: int = 7) -> Network:
    """Source -> Dense -> Threshold -> ... with codes of low..high."""
    rng = np.random.default_rng(seed)
    populations = [Population("input", Source(sizes[0], low, high))]
    projections = []
    for index, (before, after) in enumerate(pairwise(sizes)):
        name = f"layer{index}"
        populations.append(Population(name, threshold(rng, after, 127 * high * 2, high, low)))
        projections.append(Projection(populations[-2].name, name, dense(rng, before, after)))
    return Network(tuple(populations), tuple(projections))


def compressed(network: Network, seed: int) -> Network:
    """The same network with half of its dense projections packed to 4 or 2 bits and the others pruned at random."""
    rng, projections = np.random.default_rng(seed), []
    for projection in network.projections:
        synapse = projection.synapse
        if isinstance(synapse, Dense):
            bits, matrix = int(rng.choice([2, 4])), synapse.matrix.astype(np.int64)
            few = Packed.of(matrix >> (8 - bits), synapse.gain, bits)
            kept = Sparse.of((matrix * (rng.random(matrix.shape) < rng.random())).astype(np.int8), synapse.gain)
            projection = replace(projection, synapse=few if rng.random() < 0.5 else kept)
        projections.append(projection)
    return replace(network, projections=tuple(projections))
