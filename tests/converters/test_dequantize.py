"""Dequantized networks: weights near those that were quantized, codes where the network has them, and one refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from graphs import float_graph

from snngen import reference
from snngen.converters.dequantize import dequantize, frequencies
from snngen.converters.graph import Graph
from snngen.converters.operations import (
    ACTIVATIONS,
    Attention,
    Embedding,
    Floats,
    Gate,
    Linear,
    RMSNorm,
    Rotary,
)
from snngen.converters.quantize import quantize
from snngen.errors import UnsupportedError
from snngen.network import Network, Population, Projection
from snngen.neurons.accumulator import Accumulator
from snngen.neurons.gate import Gate as GateNeuron
from snngen.neurons.integrate_and_fire import IntegrateAndFire
from snngen.neurons.source import Source
from snngen.neurons.threshold import Threshold
from snngen.synapses.dense import Dense
from snngen.synapses.one_to_one import OneToOne
from snngen.synapses.rotary import UNIT
from snngen.text import Text

PLAY = """Second Murderer:
I hope my holy humour will change; it was wont to hold me but while one tells twenty.

First Murderer:
How dost thou feel thyself now?
"""


def played(network: Network) -> npt.NDArray[np.int64]:
    """(tokens,) of a text in the shipped model's manner."""
    return np.array(Text(network).encode(PLAY), dtype=np.int64)


def logits(network: Network, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(tokens, vocabulary) of the specification."""
    return np.asarray(reference.run(network, tokens)[network.output] * network[network.output].scale[0])


def rounded(graph: Graph, name: str, value: Floats) -> Floats:
    """A value as its codes hold it."""
    codes = graph.node(name).codes
    if codes is None:
        return value
    number = np.clip(np.floor(value / codes.scale + 0.5), codes.low, codes.high)
    return np.asarray(codes.scale * number, dtype=np.float32)


def test_the_shipped_model_says_nearly_the_same_in_floats(shakespeare: Network) -> None:
    tokens = played(shakespeare)
    expected, found = logits(shakespeare, tokens), dequantize(shakespeare).run(tokens[None])[0]
    error = np.sqrt(((found - expected) ** 2).mean()) / np.abs(expected).max()
    assert error < 0.012  # what the rounding of 8-bit codes costs, at 0.010
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.94


def test_codes_of_the_first_layer_are_those_of_the_network(shakespeare: Network) -> None:
    graph, tokens = dequantize(shakespeare), played(shakespeare)
    values: dict[str, Floats] = {}

    def keep(name: str, value: Floats) -> Floats:
        values[name] = rounded(graph, name, value)
        return values[name]

    graph.run(tokens[None], transform=keep)
    codes = reference.run(shakespeare, tokens)
    for part in ("norm", "query", "key", "value", "turned_query", "turned_key"):
        name = f"layer0.{part}"
        found = np.rint(values[name][0] / shakespeare[name].scale)
        assert np.abs(found - codes[name]).max() <= 1, name
        assert (found == codes[name]).mean() > 0.99, name  # the rest are ties that floats decide otherwise
    for name in ("embedding", "layer0.attended", "layer0.fed"):  # potentials: beyond, rounding of scores differs
        expected = codes[name] * shakespeare[name].scale
        assert np.abs(values[name][0] - expected).max() < 0.02 * np.abs(expected).max(), name


def test_every_population_is_a_node_with_its_codes(shakespeare: Network) -> None:
    graph = dequantize(shakespeare)
    for population in shakespeare.populations:
        if population.neuron.kind in ("source", "softmax"):
            continue
        codes = graph.node(population.name).codes
        if population.neuron.wide:
            assert codes is None
        else:
            assert codes is not None
            np.testing.assert_array_equal(codes.scale, population.scale)
            assert (codes.low, codes.high) == population.neuron.range
    assert graph.nodes[-1].name == shakespeare.output
    assert (graph.vocabulary, graph.context) == (shakespeare.vocabulary, shakespeare.context)
    assert (graph.tokenizer, graph.begin, graph.end) == (shakespeare.tokenizer, shakespeare.begin, shakespeare.end)
    assert graph.provenance["network_sha256"] == shakespeare.digest


@pytest.mark.slow
def test_weights_are_those_that_were_quantized(stories: Network, stories_graph: Graph) -> None:
    graph = dequantize(stories)
    linears = [node for node in stories_graph.nodes if isinstance(node.operation, Linear)]
    restored = {node.name: node for node in graph.nodes}
    for node in linears:
        name = node.name
        if name not in restored:  # it drives the residual stream
            (total,) = stories_graph.consumers(name)
            name = f"{node.inputs[0]} -> {total.name}"
        found, expected = restored[name].operation, node.operation
        assert isinstance(found, Linear)
        assert isinstance(expected, Linear)
        error = ((found.weight - expected.weight) ** 2).sum() / (expected.weight**2).sum()
        assert error < 1e-4 * 10, name  # -30 dB; 8 bits per weight give about -40
    for node in stories_graph.nodes:
        found, expected = restored.get(node.name), node.operation
        if isinstance(expected, Embedding):
            np.testing.assert_allclose(
                found.operation.weight, expected.weight, atol=0.01 * np.abs(expected.weight).max()
            )
        elif isinstance(expected, RMSNorm):
            np.testing.assert_allclose(found.operation.weight, expected.weight, atol=2e-3 * expected.weight.max())
            assert found.operation.epsilon == pytest.approx(expected.epsilon, rel=1e-6)
        elif isinstance(expected, Rotary):
            np.testing.assert_array_equal(found.operation.frequencies, expected.frequencies)
        elif isinstance(expected, Attention | Gate):
            assert vars(found.operation) == vars(expected)


@pytest.mark.slow
def test_dequantized_stories_predict_like_the_float_model(stories: Network, stories_graph: Graph) -> None:
    tokens = stories_graph.sample(4, 128, seed=7)
    found, expected = dequantize(stories).run(tokens), stories_graph.run(tokens)
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.95


@pytest.mark.parametrize("theta", [100.0, 10000.0, 500000.0, 1e6, 12345.0])
@pytest.mark.parametrize("context", [2, 3, 64, 2048])
def test_frequencies_come_back_from_their_tables(theta: float, context: int) -> None:
    expected = theta ** (-np.arange(16) / 16)
    angles = np.outer(np.arange(context), expected)
    cosine, sine = (np.rint(turn(angles) * UNIT).astype(np.int32) for turn in (np.cos, np.sin))
    found = frequencies(cosine, sine)
    again = np.outer(np.arange(context), found)
    assert np.abs(np.rint(np.cos(again) * UNIT) - cosine).max() <= 1
    assert np.abs(np.rint(np.sin(again) * UNIT) - sine).max() <= 1
    if context > 3:
        np.testing.assert_allclose(found, expected, rtol=1e-12 if theta != 12345.0 else 1e-3)


def test_channels_that_stand_still_stay_so() -> None:
    expected = np.concatenate((10000.0 ** (-np.arange(4) / 4), np.zeros(4)))
    angles = np.outer(np.arange(64), expected)
    found = frequencies(np.rint(np.cos(angles) * UNIT), np.rint(np.sin(angles) * UNIT))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_tables_of_no_rotation_are_refused() -> None:
    generator = np.random.default_rng(0)
    angles = generator.uniform(0, 6, size=(16, 4))
    with pytest.raises(UnsupportedError, match="no constant frequency"):
        frequencies(np.rint(np.cos(angles) * UNIT), np.rint(np.sin(angles) * UNIT))


def gated(table: npt.NDArray[np.int64], scale: float, unit: float) -> Network:
    """A token chooses a gate and a value, whose gated product is read."""
    ones = np.ones(3, np.int32)
    code = Threshold(ones, np.zeros(3, np.int32), -8, 8)
    generator = np.random.default_rng(0)
    chosen = [Dense(generator.integers(-8, 9, size=(5, 3)).astype(np.int8), ones) for _ in range(3)]
    gate = GateNeuron(table, -8, 7 * ones, -127, 127)
    return Network(
        (
            Population("token", Source(5)),
            Population("gate", code, np.full(3, scale)),
            Population("value", code, np.array([0.5, 0.25, 1.0])),
            Population("gated", gate, 7 * unit * np.array([0.5, 0.25, 1.0])),
            Population("out", Accumulator(np.array([1, -2, 3], np.int32)), np.full(1, 0.125)),
        ),
        (
            Projection("token", "gate", chosen[0]),
            Projection("token", "value", chosen[1]),
            Projection("gate", "gated", OneToOne(3), "gate"),
            Projection("value", "gated", OneToOne(3), "value"),
            Projection("gated", "out", Dense(np.eye(3, dtype=np.int8), ones)),
        ),
    )


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "relu", "relu_squared", "identity"])
def test_a_table_is_known_by_the_function_in_it(name: str) -> None:
    scale = 0.4
    points = ACTIVATIONS[name](np.arange(-8, 9) * scale)
    unit = float(np.abs(points).max()) / 2**14
    graph = dequantize(gated(np.rint(points / unit).astype(np.int64), scale, unit))
    operation = graph.node("gated").operation
    assert isinstance(operation, Gate)
    assert operation.activation == name


def test_a_small_network_is_worth_what_its_integers_say() -> None:
    points = ACTIVATIONS["silu"](np.arange(-8, 9) * 0.4)
    unit = float(np.abs(points).max()) / 2**14
    network = gated(np.rint(points / unit).astype(np.int64), 0.4, unit)
    found = dequantize(network).run(np.arange(5)[None])[0]
    codes = reference.run(network, range(5))
    gate, value = codes["gate"] * 0.4, codes["value"] * network["value"].scale
    # a unit of the last map's drive is 0.125 and its identity reads codes: what a code is worth cancels
    expected = ACTIVATIONS["silu"](gate) * value / network["gated"].scale * 0.125 + np.array([1, -2, 3]) * 0.125
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_everything_that_is_not_carried_is_in_one_message() -> None:
    network = gated(np.arange(17)[::-1] ** 2, 0.4, 1.0)  # a table of no function
    firing = IntegrateAndFire(np.full(3, 4, np.int32))
    two = replace(
        network,
        populations=(*network.populations[:-1], Population("firing", firing), network.populations[-1]),
        projections=(*network.projections, Projection("value", "firing", OneToOne(3))),
    )
    with pytest.raises(UnsupportedError) as caught:
        dequantize(two)
    assert "gated: a table of no known function" in str(caught.value)
    assert "firing: integrate_and_fire neurons" in str(caught.value)
    assert "out:" not in caught.value.got  # what depends on them is not judged


def test_scales_that_do_not_cancel_are_refused(shakespeare: Network) -> None:
    spoiled = [
        replace(p, scale=p.scale * 1.5) if p.name in ("layer0.turned_query", "layer0.turned_key") else p
        for p in shakespeare.populations
    ]
    with pytest.raises(UnsupportedError, match=r"layer0\.turned_query: scales before and after .*layer0\.turned_key"):
        dequantize(replace(shakespeare, populations=tuple(spoiled)))


# Other families: a random float graph, quantized and back.


@pytest.mark.parametrize("kind", ["plain", "placed", "blocks", "products"])
def test_other_families_come_back_near_their_float_model(kind: str) -> None:
    graph = float_graph(kind)
    tokens = np.random.default_rng(6).integers(graph.vocabulary, size=(4, 16))
    network = quantize(graph, tokens)
    again = dequantize(network)
    expected, found = graph.run(tokens), again.run(tokens)
    error = np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())
    assert error < 0.02, error  # 8-bit weights; the codes' own rounding is not in it
    coded = logits(network, tokens[0])
    assert np.sqrt(((found[0] - coded) ** 2).mean() / (coded**2).mean()) < 0.06
    kinds = {type(node.operation).__name__ for node in again.nodes}
    assert {type(node.operation).__name__ for node in graph.nodes} <= kinds
