"""Precision: bits go where they matter most, and never beyond the budget."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from graphs import random_llama, random_tokens

import snngen
from snngen.converters.compensation import divergence, log_softmax
from snngen.converters.convert import convert_graph
from snngen.converters.graph import Graph
from snngen.converters.operations import Integers, Linear
from snngen.converters.precision import Sensitivity, bytes_of, choose_bits, sensitivities
from snngen.converters.quantize import Settings, quantize
from snngen.converters.rounding import nearest
from snngen.errors import UnsupportedError
from snngen.network import Network
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed


def weight_bytes(network: Network) -> int:
    return sum(p.synapse.weight_bytes for p in network.projections if isinstance(p.synapse, Dense | Packed))


def test_the_choice_is_the_best_of_all() -> None:
    """Against every combination of three layers' bits."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        found = [
            Sensitivity(name, bits, float(rng.exponential() / bits**2), int(rng.integers(100, 200)) * bits)
            for name in "abc"
            for bits in (8, 4, 2)
        ]
        table = {(one.node, one.bits): one for one in found}
        budget = int(rng.integers(1000, 3600))
        chosen = choose_bits(found, budget)
        spent = sum(table[name, bits].bytes for name, bits in chosen.items())
        got = sum(table[name, bits].divergence for name, bits in chosen.items())
        fits = [
            c
            for c in product((8, 4, 2), repeat=3)
            if sum(table[n, b].bytes for n, b in zip("abc", c, strict=True)) <= budget
        ]
        best = min(sum(table[n, b].divergence for n, b in zip("abc", c, strict=True)) for c in fits)
        assert spent <= budget
        assert got == pytest.approx(best)


def test_a_budget_that_nothing_fits_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="at least 20"):
        choose_bits([Sensitivity("a", 2, 1.0, 20)], 19)


def test_fewer_bits_cost_more_and_take_less() -> None:
    graph = random_llama(1)
    found = sensitivities(graph, random_tokens(3, seed=5))
    table = {(one.node, one.bits): one for one in found}
    assert len(found) == 3 * 16  # two layers of seven maps, embedding and head
    for name, _ in table:
        costs = [table[name, bits].divergence for bits in (8, 4, 2)]
        sizes = [table[name, bits].bytes for bits in (8, 4, 2)]
        assert 0 < costs[0] < costs[1] < costs[2], name
        assert sizes[0] > sizes[1] > sizes[2]


def test_networks_take_the_bytes_that_were_counted() -> None:
    graph = random_llama(2)
    bits = {"layer0.up": 4, "layer1.feed_out": 2, "embedding": 4, "logits": 2}
    network = quantize(graph, random_tokens(2), Settings(bits=bits))
    expected = sum(bytes_of(node, bits.get(node.name, 8)) for node in graph.nodes)
    assert weight_bytes(network) == expected
    assert snngen.certify(network, random_tokens(1)[0].tolist()).clean


def test_mixed_precision_beats_uniform_choices_of_the_same_bytes(stories_graph: Graph) -> None:
    """Halfway between all 4 and all 8 bits: better than 8 bits for a first or a last stretch of the layers."""
    tokens, held_out = stories_graph.sample(4, 256, 3), stories_graph.sample(6, 256, 4)
    found = sensitivities(stories_graph, tokens, (8, 4))
    sizes = {(one.node, one.bits): one.bytes for one in found}
    names = list(dict.fromkeys(one.node for one in found))
    budget = sum(sizes[name, 8] + sizes[name, 4] for name in names) // 2
    chosen = choose_bits(found, budget)
    assert sum(sizes[name, bits] for name, bits in chosen.items()) <= budget
    assert set(chosen.values()) == {4, 8}
    candidates = {"chosen": chosen}
    for label, order in (("first", names), ("last", names[::-1])):
        bits, left = dict.fromkeys(names, 4), budget - sum(sizes[name, 4] for name in names)
        for name in order:
            if sizes[name, 8] - sizes[name, 4] <= left:
                bits[name], left = 8, left - sizes[name, 8] + sizes[name, 4]
        candidates[label] = bits
    expected = log_softmax(stories_graph.run(held_out))
    costs = {label: _divergence(stories_graph, bits, expected, held_out) for label, bits in candidates.items()}
    assert costs["chosen"] < 0.7 * min(costs["first"], costs["last"]), costs


def _divergence(graph: Graph, bits: dict[str, int], expected: np.ndarray, tokens: np.ndarray) -> float:
    from snngen.converters.precision import _with

    for name, count in bits.items():
        graph = _with(graph, graph.node(name), count)
    return divergence(expected, graph.run(tokens))


def test_integers_of_the_source_are_in_the_budget() -> None:
    """They keep their bits and take their share of the bytes, so that the whole fits."""
    graph, tokens = random_llama(3, layers=1), random_tokens(2)
    rounded = nearest(graph.node("logits").operation.weight.astype(np.float64), 8)  # type: ignore[attr-defined]
    taken = Linear(rounded.weight.astype(np.float32), integers=Integers(rounded.matrix, rounded.unit))
    graph.nodes[-1] = replace(graph.nodes[-1], operation=taken)
    least = sum(bytes_of(node, 8 if node.name == "logits" else 2) for node in graph.nodes)
    network = convert_graph(graph, tokens, weight_budget=least + 300).network
    assert network.provenance["quantizer"]["bits"]["logits"] == 8
    assert least < weight_bytes(network) <= least + 300
    assert snngen.certify(network, tokens[0].tolist()).clean
    with pytest.raises(UnsupportedError, match=f"at least {least}"):
        convert_graph(graph, tokens, weight_budget=least - 1)
