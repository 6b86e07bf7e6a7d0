"""Laws of every synapse model of continuous time: rows, sums and counts are of the same synapses."""

from __future__ import annotations

import numpy as np
import pytest

from snngen.dynamics import synapses
from snngen.dynamics.synapses import DynamicSynapse
from snngen.dynamics.synapses.convolution import Convolution
from snngen.dynamics.synapses.dense import Dense
from snngen.dynamics.synapses.one_to_one import OneToOne
from snngen.dynamics.synapses.sparse import Sparse
from snngen.errors import NetworkError

RNG = np.random.default_rng(0)


def convolution(outputs: int, inputs: int, sides: tuple[int, int], **options) -> Convolution:
    return Convolution(RNG.normal(size=(outputs, inputs, *sides)), **options)


EXAMPLES: dict[str, DynamicSynapse] = {
    "dense": Dense(RNG.normal(size=(4, 3))),
    "one_to_one": OneToOne(RNG.normal(size=5)),
    "sparse": Sparse.from_pairs([3, 0, 3, 0, 0], [1, 2, 1, 0, 2], RNG.normal(size=5), 4, 3),
    "sparse, empty": Sparse.from_pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 2, 3),
    "convolution": convolution(2, 1, (3, 3), shape=(1, 4, 5), padding=(1, 1)),
    "convolution, strides": convolution(4, 1, (3, 2), shape=(2, 5, 6), stride=(2, 1), dilation=(1, 2), groups=2),
    "convolution, 1 d": convolution(2, 3, (1, 4), shape=(3, 1, 9), stride=(1, 3), padding=(0, 2)),
}


def test_every_file_has_an_example() -> None:
    assert {name.split(",")[0] for name in EXAMPLES} | {"composite"} == set(synapses.kinds())


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_are_what_is_applied(name: str) -> None:
    synapse = EXAMPLES[name]
    matrix = np.zeros((synapse.source_size, synapse.target_size))
    for source in range(synapse.source_size):
        targets, weights = synapse.row(source)
        assert (np.diff(targets) >= 0).all()
        assert targets.size == synapse.fan_out[source]
        np.add.at(matrix[source], targets, weights)
    values = RNG.normal(size=(3, synapse.source_size))
    np.testing.assert_allclose(synapse.apply(values), values @ matrix, atol=1e-12)
    assert synapse.apply(values.astype(np.float32)).dtype == np.float32
    assert synapse.count == synapse.fan_out.sum()


def test_a_convolution_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    synapse = EXAMPLES["convolution, strides"]
    assert isinstance(synapse, Convolution)
    values = RNG.normal(size=(3, *synapse.shape))
    found = torch.nn.functional.conv2d(
        torch.tensor(values), torch.tensor(np.array(synapse.kernel)), None, synapse.stride, synapse.padding,
        synapse.dilation, synapse.groups,
    )  # fmt: skip
    np.testing.assert_allclose(synapse.apply(values.reshape(3, -1)), found.reshape(3, -1).numpy(), atol=1e-12)
    assert synapse.target_shape == tuple(found.shape[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(np.ones((0, 2))), "at least one source"),
        (lambda: Dense(np.array([["a"]])), "numbers"),
        (lambda: OneToOne(np.ones(0)), "one per neuron"),
        (lambda: Sparse(np.array([0, 2]), np.array([1, 0]), np.ones(2), 2), "descend"),
        (lambda: Sparse(np.array([0, 3]), np.array([0, 1]), np.ones(2), 2), "no rows"),
        (lambda: Sparse(np.array([0, 2]), np.array([0, 2]), np.ones(2), 2), "0..1"),
        (lambda: Sparse(np.array([0, 2]), np.array([0, 1]), np.ones(1), 2), "as many of both"),
        (lambda: Sparse.from_pairs([4], [0], [1.0], 4, 1), "0..3"),
        (lambda: Sparse.from_pairs([1, 2], [0], [1.0], 4, 1), "as many of each"),
        (lambda: convolution(1, 1, (3, 3), shape=(2, 4, 4)), "fit the kernel"),
        (lambda: convolution(1, 1, (5, 5), shape=(1, 4, 4)), "neurons each"),
        (lambda: convolution(1, 1, (2, 2), shape=(1, 4, 4), stride=(0, 1)), "2 numbers of 1"),
    ],
)
def test_what_are_no_synapses_is_refused(make, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()
