"""The certificate can fail: one flipped weight bit, and it names the population and the neuron."""

from __future__ import annotations

from dataclasses import replace

import pytest
from networks import random_transformer

import snngen
from snngen.certificate import certify
from snngen.engines.settled import SettledEngine
from snngen.errors import MismatchError
from snngen.network import Network


def flip_bit(network: Network, projection_index: int, source: int, target: int, bit: int) -> Network:
    """The network with one bit of one weight flipped."""
    projection = network.projections[projection_index]
    matrix = projection.synapse.matrix.copy()
    matrix.view("uint8")[source, target] ^= 1 << bit
    changed = replace(projection, synapse=replace(projection.synapse, matrix=matrix))
    projections = list(network.projections)
    projections[projection_index] = changed
    return replace(network, projections=tuple(projections))


def test_clean_certificate_counts_what_it_compared() -> None:
    network = random_transformer(1, layers=2)
    certificate = certify(network, [1, 2, 3])
    assert certificate.clean
    assert certificate.codes == 3 * sum(population.size for population in network.populations)
    assert certificate.logits == 3 * network.vocabulary
    assert str(certificate).startswith("equal: ")
    certificate.require()


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_weight_bit_is_found_and_named(bit: int) -> None:
    network = random_transformer(2)
    index = next(i for i, p in enumerate(network.projections) if p.name == "token -> embedding")
    broken = flip_bit(network, index, source=3, target=2, bit=bit)
    certificate = certify(network, [1, 3, 2], engine=SettledEngine(broken))
    assert not certificate.clean
    assert certificate.first is not None
    assert (certificate.first.token, certificate.first.population, certificate.first.neuron) == (1, "embedding", 2)
    assert "population embedding, neuron 2" in str(certificate)
    with pytest.raises(MismatchError, match="embedding, neuron 2"):
        certificate.require()


def test_a_flipped_bit_in_a_real_model_is_found(shakespeare: Network) -> None:
    index = next(i for i, p in enumerate(shakespeare.projections) if p.target == "layer3.gate")
    certificate = certify(
        shakespeare, list(b"To be, or not"), engine=SettledEngine(flip_bit(shakespeare, index, 7, 100, 6))
    )
    assert certificate.first is not None
    assert (certificate.first.population, certificate.first.neuron) == ("layer3.gate", 100)


def test_hashes_tell_network_and_prompt_apart() -> None:
    network = random_transformer(1)
    first, second = snngen.certify(network, [1, 2]), snngen.certify(network, [2, 1])
    other = snngen.certify(random_transformer(2), [1, 2])
    assert first.network == second.network != other.network
    assert first.prompt == other.prompt != second.prompt
    assert first.as_dict()["clean"] is True
