"""Random small networks for the tests: every kind of population, built from integers directly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate
from snngen.neurons.rms_norm import RMSNorm
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.rotary import UNIT, Rotary
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
