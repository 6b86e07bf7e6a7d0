"""What a block of tokens must not mix up: few events, memories whose target is left out, writers that share a place."""

from __future__ import annotations

import numpy as np
import pytest
from networks import dense, random_transformer

from snngen import reference
from snngen.engines import settled
from snngen.engines.settled import SettledEngine
from snngen.network import Network, Population, Projection
from snngen.neurons import Neuron
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.softmax import Softmax
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.bilinear import Bilinear
from snngen.synapses.dense import Dense
from snngen.synapses.key_memory import KeyMemory
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.sparse import Sparse
from snngen.synapses.value_memory import ValueMemory

TOKENS, CONTEXT = 12, 20
SHAPE = (1, 1, 4, CONTEXT)


class Builder:
    """Populations with what drives them, in order."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.populations = [Population("token", Source(TOKENS, one_hot=1))]
        self.projections: list[Projection] = []

    def add(self, name: str, neuron: Neuron, source: str, synapse: object, writer: str | None = None) -> None:
        self.populations.append(Population(name, neuron))
        self.projections.append(Projection(source, name, synapse, writer=writer))  # type: ignore[arg-type]

    def codes(self, name: str, source: str, sources: int, size: int = 4) -> None:
        theta, bias = np.full(size, 20, np.int32), np.zeros(size, np.int32)
        self.add(name, Threshold(theta, bias, -127, 127), source, dense(self.rng, sources, size))

    def attend(self, query: str, key: str, value: str, name: str, high: int = 255) -> None:
        self.add(name, Softmax(np.array([2**18]), CONTEXT, high), query, KeyMemory(*SHAPE), key)
        mixed = Threshold(np.full(4, 100, np.int32), np.zeros(4, np.int32), -127, 127)
        self.add(f"{name}_mixed", mixed, name, ValueMemory(*SHAPE), value)

    def network(self, last: str, size: int) -> Network:
        outputs = Accumulator(np.zeros(TOKENS, np.int32))
        self.add("logits", outputs, last, dense(self.rng, size, TOKENS))
        return Network(tuple(self.populations), tuple(self.projections))


def few_events() -> Network:
    """400 neurons of which each token makes three fire."""
    build, matrix = Builder(), np.zeros((TOKENS, 400), np.int8)
    for row in matrix:
        row[build.rng.integers(0, 400, 3)] = 100
    neuron = Threshold(np.ones(400, np.int32), np.zeros(400, np.int32), -127, 127)
    build.add("few", neuron, "token", Dense(matrix, np.ones(400, np.int32)))
    for name in ("key", "value", "query"):
        build.codes(name, "few", 400)
    build.attend("query", "key", "value", "share")
    return build.network("share_mixed", 4)


def queries_that_are_keys() -> Network:
    """What the last layer's scores are made of is needed later; the scores are not."""
    build = Builder()
    build.codes("key", "token", TOKENS)
    build.codes("value", "token", TOKENS)
    build.attend("key", "key", "value", "share")
    return build.network("share_mixed", 4)


def shares_that_write() -> Network:
    """A matrix of attention's shares, read after dense weights: each token has its own."""
    build = Builder()
    build.codes("key", "token", TOKENS)
    build.codes("query", "token", TOKENS)
    build.add("share", Softmax(np.array([2**18]), CONTEXT, 127), "query", KeyMemory(*SHAPE), "key")
    build.codes("between", "token", TOKENS, 5)
    neuron = Threshold(np.full(5, 3, np.int32), np.zeros(5, np.int32), -127, 127)
    build.add("columns", neuron, "between", OneToOne(5))
    neuron = Threshold(np.full(4, 20, np.int32), np.zeros(4, np.int32), -127, 127)
    build.add("product", neuron, "columns", Bilinear(1, 4, 5), "share")
    build.codes("other", "token", TOKENS)
    build.attend("other", "product", "product", "last", 127)
    return build.network("last_mixed", 4)


@pytest.mark.parametrize("build", [few_events, queries_that_are_keys, shares_that_write])
@pytest.mark.parametrize("way", ["blocks", "tokens", "threads"])
def test_the_last_token_is_the_references(build, way: str) -> None:
    network, tokens = build(), [1, 5, 7, 3, 2, 9, 0, 11]
    expected = reference.run(network, tokens)
    engine = SettledEngine(network, threads=2 if way == "threads" else 1)
    if way == "tokens":
        for token in tokens[:-1]:
            engine.step(token, read=False)
    else:
        assert len(list(engine.prefill(tokens[:-1]))) == len(tokens) - 1
    engine.step(tokens[-1])
    for population in network.populations:
        assert engine.codes(population.name).tolist() == expected[population.name][-1].tolist(), population.name


def test_the_first_token_changes_only_itself() -> None:
    """Through weights of which rows have different lengths, counted as the same codes from outside are."""
    matrix = np.zeros((TOKENS, 30), np.int8)
    for token, row in enumerate(matrix):
        row[: 2 * token + 5] = 3
    build = Builder()
    neuron = Threshold(np.full(30, 20, np.int32), np.zeros(30, np.int32), -127, 127)
    build.add("codes", neuron, "token", Sparse.of(matrix, np.ones(30, np.int32)))
    network = build.network("codes", 30)
    by_token, by_codes = SettledEngine(network), SettledEngine(network)
    for token in (7, 7, 3, 0):
        by_token.step(token)
        by_codes.step(codes={"token": reference.one_hot([token], TOKENS)[0]})
        assert by_token.counted()[1].tolist() == by_codes.counted()[1].tolist()


def test_unary_events_of_large_codes_are_counted() -> None:
    size, high = 2**14, 2**20
    neuron = Threshold(np.ones(size, np.int32), np.zeros(size, np.int32), 0, high)
    network = Network(
        (Population("x", Source(size, 0, high)), Population("y", neuron)), (Projection("x", "y", OneToOne(size)),)
    )
    engine = SettledEngine(network)
    engine.step(codes={"x": np.full(size, high - 1)})
    assert engine.counted()[0][:, 2].tolist() == [size * (high - 1)] * 2


def test_a_block_has_a_few_tokens_however_large_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are read once for three tokens are worth the memory."""
    monkeypatch.setattr(settled, "BLOCK_BYTES", 1)
    network, tokens = random_transformer(2), [1, 5, 7, 3, 2, 9, 0, 10]
    engine = SettledEngine(network)
    assert engine.block == 3
    assert len(list(engine.prefill(tokens[:-1]))) == len(tokens) - 1
    engine.step(tokens[-1])
    expected = reference.run(network, tokens)
    for population in network.populations:
        assert engine.codes(population.name).tolist() == expected[population.name][-1].tolist(), population.name
