"""The noise report: the formula on codes of the reference, in the network's order, worse with fewer bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import random_llama, random_tokens

from snngen import reference
from snngen.converters.graph import Graph
from snngen.converters.noise import LayerNoise, layer_noise
from snngen.converters.operations import Floats, Linear, Pointwise
from snngen.converters.quantize import quantize
from snngen.converters.settings import Settings
from snngen.network import Network


@pytest.fixture(scope="module")
def graph() -> Graph:
    return random_llama(1)


@pytest.fixture(scope="module")
def network(graph: Graph) -> Network:
    return quantize(graph, random_tokens(3))


def named(layers: list[LayerNoise]) -> dict[str, LayerNoise]:
    return {layer.population: layer for layer in layers}


def test_populations_come_in_the_order_in_which_they_settle(graph: Graph, network: Network) -> None:
    floats = {node.name for node in graph.nodes}
    expected = [p.name for p in network.populations if p.name in floats]
    assert [layer.population for layer in layer_noise(graph, network, random_tokens(1))] == expected
    assert {p.name for p in network.populations} - set(expected) == {
        "token", "layer0.attention_probability", "layer1.attention_probability",
    }  # fmt: skip


def test_values_are_the_formulas(graph: Graph, network: Network) -> None:
    """Over two sequences: sums are pooled before the logarithm."""
    sequences = random_tokens(2, seed=5)
    signal, noise, codes = {}, {}, {}
    for sequence in sequences:
        values: dict[str, Floats] = {}

        def keep(name: str, value: Floats, values: dict[str, Floats] = values) -> Floats:
            values[name] = value[0].astype(np.float64)
            return value

        graph.run(sequence[None], transform=keep)
        run = reference.run(network, sequence)
        for name in ("layer0.norm", "layer1.turned_key", "layer1.gated", "layer1.fed", "logits"):
            error = values[name] - run[name] * network[name].scale
            signal[name] = signal.get(name, 0.0) + float((values[name] ** 2).sum())
            noise[name] = noise.get(name, 0.0) + float((error**2).sum())
            codes.setdefault(name, []).append(run[name])
    layers = named(layer_noise(graph, network, sequences))
    for name in signal:
        layer, all_codes = layers[name], np.concatenate(codes[name])
        assert layer.decibels == pytest.approx(10 * np.log10(signal[name] / noise[name]), abs=1e-3)
        assert layer.active == np.mean(all_codes != 0)
        assert layer.clipped == np.mean(np.abs(all_codes) == network.bound(name))


def test_the_ends_of_the_range_count_as_clipped(graph: Graph, network: Network) -> None:
    """Ranges a tenth as wide cut most of what there is."""
    index = next(i for i, p in enumerate(network.populations) if p.name == "layer0.value")
    neuron = network.populations[index].neuron
    narrow = replace(neuron, theta=np.maximum(1, neuron.theta // 10))
    populations = list(network.populations)
    populations[index] = replace(populations[index], neuron=narrow, scale=populations[index].scale / 10)
    cut = replace(network, populations=tuple(populations))
    layers, before = (named(layer_noise(graph, which, random_tokens(1))) for which in (cut, network))
    assert layers["layer0.value"].clipped > 0.5
    assert before["layer0.value"].clipped < 0.05
    assert layers["layer0.value"].decibels < 5 < before["layer0.value"].decibels


def test_eight_bits_are_less_noisy_than_five_in_every_layer(graph: Graph, network: Network) -> None:
    tokens = random_tokens(3, seed=9)
    fine = named(layer_noise(graph, network, tokens))
    for chosen in (Settings(weight_bits=4), Settings(activation_bits=5), Settings(5, 5)):
        coarse = named(layer_noise(graph, quantize(graph, random_tokens(3), chosen), tokens))
        assert coarse.keys() == fine.keys()
        for name, layer in fine.items():
            if name != "embedding" or chosen.weight_bits < 8:  # a row of weights: no code comes before it
                assert layer.decibels > coarse[name].decibels + 3, (name, chosen)


def test_silence_has_no_ratio() -> None:
    """Where both are silent there is no noise; where only the float model is, there is nothing else."""
    graph = random_llama(0, layers=1, biased=False)
    index = next(i for i, node in enumerate(graph.nodes) if node.name == "layer0.up")
    silent = replace(graph.nodes[index], operation=Linear(np.zeros_like(graph.nodes[index].operation.weight)))
    speaking = graph.nodes[index]
    network = quantize(graph, random_tokens(1))
    graph.nodes[index] = silent
    quiet = quantize(graph, random_tokens(1))
    assert named(layer_noise(graph, quiet, random_tokens(1)))["layer0.gated"] == LayerNoise(
        "layer0.gated", float("inf"), 0.0, 0.0
    )
    assert named(layer_noise(graph, network, random_tokens(1)))["layer0.gated"].decibels == float("-inf")
    graph.nodes[index] = speaking
    assert np.isfinite(named(layer_noise(graph, network, random_tokens(1)))["layer0.gated"].decibels)


def test_a_code_of_zero_is_not_clipped_though_it_is_the_lowest() -> None:
    graph = Graph(0, None, channels=3)
    graph.add("map", Linear(np.eye(3, dtype=np.float32)), "input")
    graph.add("relu", Pointwise("relu"), "map")
    graph.add("y", Linear(np.eye(3, dtype=np.float32)), "relu")
    draws = np.random.default_rng(0).uniform(-1, 1, (2, 200, 3)).astype(np.float32)
    network = quantize(graph, draws)
    relu = named(layer_noise(graph, network, draws / 2))["relu"]
    assert relu.clipped == 0
    assert 0.4 < relu.active < 0.6
    assert named(layer_noise(graph, network, draws * 100))["relu"].clipped > 0.4
