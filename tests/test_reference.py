"""The specification refuses what it does not define."""

import numpy as np
import pytest
from networks import feed_forward, random_decoder, random_recurrent, random_transformer

from snngen import reference
from snngen.errors import CapacityError, PromptError
from snngen.network import Network, Population, Projection
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.one_to_one import OneToOne


@pytest.mark.parametrize("build", [random_transformer, random_recurrent, random_decoder])
def test_causal(build) -> None:
    """What comes later changes nothing before it."""
    network = build(1)
    long, short = reference.run(network, [1, 2, 3, 4, 5]), reference.run(network, [1, 2, 3])
    for population in network.populations:
        assert np.array_equal(long[population.name][:3], short[population.name])


def test_an_accumulator_that_drives_itself_counts_tokens() -> None:
    ones = OneToOne(1)
    populations = (Population("in", Source(1, 0, 9)), Population("sum", Threshold(*np.array([[1], [0]]), 0, 99)))
    network = Network(populations, (Projection("in", "sum", ones), Projection("sum", "sum", ones, delayed=True)))
    codes = reference.run(network, {"in": np.array([[3], [0], [4], [9]])})
    assert codes["sum"].ravel().tolist() == [3, 3, 7, 16]


def test_refuses_tokens_codes_and_lengths_out_of_range() -> None:
    network = random_transformer(1, context=3)
    with pytest.raises(PromptError):
        reference.run(network, [0, network.vocabulary])
    with pytest.raises(CapacityError):
        reference.run(network, [0, 1, 2, 3])
    with pytest.raises(PromptError):
        reference.run(feed_forward(1), {"input": np.full((1, 5), 8)})
