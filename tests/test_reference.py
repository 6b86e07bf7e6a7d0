"""The specification refuses what it does not define."""

import numpy as np
import pytest
from networks import feed_forward, random_transformer

from snngen import reference
from snngen.errors import CapacityError, PromptError


def test_causal() -> None:
    """What comes later changes nothing before it."""
    network = random_transformer(1, layers=2)
    long, short = reference.run(network, [1, 2, 3, 4, 5]), reference.run(network, [1, 2, 3])
    for population in network.populations:
        assert np.array_equal(long[population.name][:3], short[population.name])


def test_refuses_tokens_codes_and_lengths_out_of_range() -> None:
    network = random_transformer(1, context=3)
    with pytest.raises(PromptError):
        reference.run(network, [0, network.vocabulary])
    with pytest.raises(CapacityError):
        reference.run(network, [0, 1, 2, 3])
    with pytest.raises(PromptError):
        reference.run(feed_forward(1), {"input": np.full((1, 5), 8)})
