"""A network is checked as a whole when it is built."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from networks import dense, feed_forward, random_recurrent, random_transformer, threshold

from snngen.errors import NetworkError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.source import Source
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.packed import Packed
from snngen.synapses.position import Position
from snngen.synapses.sparse import Sparse

RNG = np.random.default_rng(0)
INPUT, HIDDEN = Population("input", Source(3, -7, 7)), Population("hidden", threshold(RNG, 4, 900, 7))
LINK = Projection("input", "hidden", dense(RNG, 3, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network((), ()), "no populations"),
        (lambda: Network((INPUT, INPUT), ()), "more than once"),
        (lambda: Network((INPUT, HIDDEN), ()), "nothing that drives"),
        (lambda: Network((INPUT, HIDDEN), (LINK,), output="other"), "'other'"),
        (lambda: Network((HIDDEN, INPUT), (LINK,)), "after its target"),
        (lambda: Network((INPUT, HIDDEN), (replace(LINK, source="nobody"),)), "nobody"),
        (lambda: Network((INPUT, HIDDEN), (replace(LINK, operand="gate"),)), "operand 'gate'"),
        (lambda: Network((INPUT, HIDDEN), (replace(LINK, synapse=dense(RNG, 4, 4)),)), "neurons"),
        (lambda: Network((INPUT, HIDDEN), (LINK,), end=(3,)), "token 3"),
        (lambda: Population("a/b", Source(1)), "without '/'"),
        (lambda: Population("a", Source(3), np.ones(2)), "shape"),
        (lambda: Population("a", Source(1), np.array([np.nan])), "finite"),
    ],
)
def test_what_does_not_hold_is_refused(build, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        build()


def test_drive_beyond_int32_is_refused() -> None:
    heavy = Dense(np.full((300, 1), 127, np.int8), np.full(1, 2000, np.int32))
    populations = (Population("input", Source(300, -127, 127)), Population("sum", Accumulator(np.zeros(1, np.int32))))
    with pytest.raises(NetworkError, match="int32"):
        Network(populations, (Projection("input", "sum", heavy),))


def test_a_drive_is_kept_as_a_whole_or_not_at_all() -> None:
    for network in (random_transformer(1), random_recurrent(1)):
        for target in network.populations:
            for operand in target.neuron.operands:
                kept = {network.kept(p) for p in network.into(target.name) if p.operand == operand}
                assert len(kept) == 1
    full = {p.name for p in random_transformer(1).populations if not random_transformer(1).sent_when_changed(p.name)}
    assert full == {f"layer0.{name}" for name in ("query", "key", "value", "turned_query", "turned_key", "probability")}


def test_potential_bounds_add_up_along_the_stream() -> None:
    half = Dense(np.full((100, 1), 127, np.int8), np.full(1, 1000, np.int32))  # 1.6e9 at most
    zero = Accumulator(np.zeros(1, np.int32))
    populations = [Population("input", Source(100, -127, 127)), Population("one", zero)]
    projections = [Projection("input", "one", half)]
    assert Network(tuple(populations), tuple(projections)).bound("one") == 100 * 127 * 127 * 1000
    populations.append(Population("two", zero))
    projections += [Projection("one", "two", OneToOne(1)), Projection("input", "two", half)]
    with pytest.raises(NetworkError, match="two"):
        Network(tuple(populations), tuple(projections))


def test_digest_follows_every_weight() -> None:
    network = feed_forward(1)
    digests = {network.digest}
    for index, projection in enumerate(network.projections):
        matrix = projection.synapse.matrix.copy()
        matrix[0, 0] ^= 1
        changed = replace(projection, synapse=replace(projection.synapse, matrix=matrix))
        projections = (*network.projections[:index], changed, *network.projections[index + 1 :])
        digests.add(replace(network, projections=projections).digest)
    assert len(digests) == 1 + len(network.projections)
    assert feed_forward(1).digest == network.digest


def test_stages_context_and_lookup() -> None:
    network = random_transformer(1, layers=1, context=9)
    assert network.context == 9
    assert network.stages[0] == 0
    assert max(network.stages) == network.stages[network.order["logits"]]
    for projection in network.projections:
        assert network.stages[network.order[projection.source]] < network.stages[network.order[projection.target]]
    with pytest.raises(NetworkError, match="nobody"):
        network["nobody"]


@pytest.mark.parametrize("one_hot", [0, 1])
@pytest.mark.parametrize("kind", ["dense", "packed", "sparse", "position"])
def test_building_a_network_copies_no_weights(kind: str, one_hot: int) -> None:
    """Checks, bounds, digest and the drive itself look at the weights block by block."""
    size = 4096
    weights = np.random.default_rng(0).integers(-8, 8, size * size, dtype=np.int8)
    gain = np.ones(size, np.int32)
    if kind == "sparse":  # as they lie in a network that was read
        weights = np.concatenate((weights, np.tile(np.arange(size, dtype=np.int32), size).view(np.int8)))
    matrix = weights[: size * size].reshape(size, size)
    source = Population("input", Source(2 * size if kind == "position" else size, one_hot=one_hot))
    output = Population("output", Accumulator(np.zeros(2 * size if kind == "packed" else size, np.int32)))

    tracemalloc.start()
    synapse = {
        "dense": lambda: Dense(matrix, gain),
        "packed": lambda: Packed(matrix, np.ones(2 * size, np.int32), 4),
        "sparse": lambda: Sparse(
            np.arange(size + 1) * size, weights[size * size :].view(np.int32), weights[: size * size], gain
        ),
        "position": lambda: Position(2 * size, matrix, gain),
    }[kind]()
    network = Network((source, output), (Projection("input", "output", synapse),))
    drive = synapse.reference(np.eye(2, source.size, dtype=np.int64), None)
    assert len(network.digest) == 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(synapse.weights, weights)
    assert peak < 0.1 * weights.nbytes + 4 * 2**20
    assert drive.shape == (2, output.size)
