"""Sparse weights: only the synapses that are there are stored, read and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import compressed, random_transformer

import snngen
from snngen.engines.ticked import TickedEngine
from snngen.errors import NetworkError
from snngen.synapses.dense import Dense
from snngen.synapses.sparse import Sparse


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sources=st.integers(1, 9),
    targets=st.integers(1, 9),
    density=st.floats(0, 1),
)
def test_is_the_dense_matrix(seed: int, sources: int, targets: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.integers(-128, 128, (sources, targets)) * (rng.random((sources, targets)) < density)).astype(np.int8)
    gain = rng.integers(1, 99, targets)
    sparse, dense = Sparse.of(matrix, gain), Dense(matrix, gain)
    codes = rng.integers(-127, 128, (3, sources))
    assert np.array_equal(sparse.reference(codes, None), dense.reference(codes, None))
    assert np.array_equal(sparse.matrix, matrix)
    assert sparse.bound(127, 0) == dense.bound(127, 0)
    assert sparse.bound_of_one(127) == dense.bound_of_one(127)
    assert sparse.count == np.count_nonzero(matrix) == sparse.fan_out.sum()
    assert np.array_equal(sparse.fan_out, np.count_nonzero(matrix, axis=1))


def test_bytes_are_counted_with_their_indices() -> None:
    for targets, index_bytes in ((256, 1), (257, 2), (2**16 + 1, 4)):
        matrix = np.zeros((3, targets), np.int8)
        matrix[0, :5] = matrix[2, -1] = 1
        assert Sparse.of(matrix, np.ones(targets, np.int32)).weight_bytes == 6 * (1 + index_bytes) + 4 * 4


def test_a_pruned_neuron_costs_nothing() -> None:
    """Synapses of a neuron without outgoing ones are neither read nor counted, in either engine."""
    network = compressed(random_transformer(2), 1)
    engine, ticked = snngen.SettledEngine(network), TickedEngine(network)
    for token in (3, 1, 4):
        engine.step(token)
        ticked.step(token)
        for which in (engine, ticked):
            _, deliveries = which.counted()
            seen = 0
            for projection, counts in zip(network.projections, deliveries, strict=True):
                synapse = projection.synapse
                if isinstance(synapse, Sparse):
                    active = engine.codes(projection.source) != 0
                    reached = np.count_nonzero(synapse.matrix[active])
                    assert counts[1] == reached
                    assert counts[0] == reached * (1 + synapse.index_bytes)
                    assert reached < np.count_nonzero(active) * synapse.target_size
                    seen += 1
            assert seen


def test_no_synapse_at_all_is_a_network_still() -> None:
    empty = Sparse.of(np.zeros((4, 3), np.int8), np.ones(3, np.int32))
    assert empty.weight_bytes == 5 * 4
    assert empty.reference(np.ones((2, 4), np.int64), None).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    "build",
    [
        lambda: Sparse.of(np.zeros(3, np.int8), np.ones(3, np.int32)),
        lambda: Sparse([0, 1], [0], [1], np.zeros(1, np.int32)),
        lambda: Sparse(np.array([0, 2]), np.array([0]), np.array([1]), np.ones(1, np.int32)),
        lambda: Sparse(np.array([1, 1]), np.array([0]), np.array([1]), np.ones(1, np.int32)),
        lambda: Sparse(np.array([0, 1, 0, 1]), np.array([0]), np.array([1]), np.ones(1, np.int32)),
        lambda: Sparse(np.array([0, 1]), np.array([1]), np.array([1]), np.ones(1, np.int32)),
        lambda: Sparse(np.array([0, 2]), np.array([1, 0]), np.array([1, 1]), np.ones(2, np.int32)),
        lambda: Sparse(np.array([0, 2]), np.array([0, 0]), np.array([1, 1]), np.ones(2, np.int32)),
        lambda: Sparse(np.array([0, 1]), np.array([0, 0]), np.array([1]), np.ones(2, np.int32)),
        lambda: Sparse.of(np.full((2**20, 1), 127, np.int8), np.ones(1, np.int32)).bound(127, 0),
    ],
)
def test_bad_parameters_are_refused(build) -> None:
    with pytest.raises(NetworkError, match="expected"):
        build()
