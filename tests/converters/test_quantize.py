"""The quantizer: what a real model loses, every weight and bias in its place, and integers that fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import CONTEXT, VOCABULARY, random_llama, random_tokens
from hypothesis import example, given, settings
from hypothesis import strategies as st

import snngen
from snngen import picture, reference
from snngen.converters.graph import Cache, Graph
from snngen.converters.noise import layer_noise
from snngen.converters.operations import Add, Embedding, Floats, Gate, Linear, Operation, Pointwise, RMSNorm, Scale
from snngen.converters.quantize import quantize
from snngen.converters.settings import Settings
from snngen.errors import NetworkError, PromptError, SnngenError, UnsupportedError
from snngen.likelihood import nats_per_token
from snngen.network import Network
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed

ONE_SEQUENCE = random_tokens(1)  # nothing is held out, so nothing is tried: quick


def decibels(graph: Graph, network: Network) -> dict[str, float]:
    """Signal-to-noise ratio per population on tokens that were not calibrated on."""
    return {layer.population: layer.decibels for layer in layer_noise(graph, network, list(random_tokens(4, seed=9)))}


@pytest.mark.parametrize("seed", [1, 3])
def test_a_real_model_loses_at_most_one_percent(stories_graph: Graph, stories: Network, seed: int) -> None:
    """W8A8, calibrated on 5 sequences that the model sampled, measured on 20 others."""
    assert stories.provenance["quantizer"]["weight_bits"] == stories.provenance["quantizer"]["activation_bits"] == 8
    assert stories.provenance["calibration_tokens"] == 5 * 256
    tokens = stories_graph.sample(20, 256, seed)
    logits = stories_graph.run(tokens)[:, :-1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    said = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    expected = float((np.log(np.exp(logits).sum(axis=-1)) - said).mean())
    got = nats_per_token(stories, [(sequence, 1) for sequence in tokens.tolist()])
    assert np.exp(got) <= 1.01 * np.exp(expected)
    assert got > expected - 0.01  # a network much better than its model was measured wrongly


@pytest.mark.parametrize("seed", range(3))
def test_every_bias_is_in_its_place(seed: int) -> None:
    """Each linear map has biases as large as its products: one that is lost or misplaced is half the signal."""
    graph = random_llama(seed)
    network = quantize(graph, random_tokens(3))
    noise = decibels(graph, network)
    assert min(noise.values()) > 15, noise
    assert noise["logits"] > 25


@pytest.mark.parametrize("name", ["query", "value", "gate", "up", "attention_out", "feed_out", "logits"])
def test_a_bias_without_weights_is_what_is_left(name: str) -> None:
    """A map whose weights are all zero (pruned) still says its bias, to half a unit of its codes."""
    graph = random_llama(2, layers=1)
    index = next(i for i, node in enumerate(graph.nodes) if node.name.endswith(name))
    node = graph.nodes[index]
    assert isinstance(node.operation, Linear)
    bias = node.operation.bias
    assert bias is not None
    graph.nodes[index] = replace(node, operation=Linear(np.zeros_like(node.operation.weight), bias))
    network = quantize(graph, ONE_SEQUENCE)
    codes = reference.run(network, ONE_SEQUENCE[0])
    if name.endswith("_out"):  # lands in the residual stream: what that gains
        (reader,) = graph.consumers(node.name)
        before, after = network[reader.inputs[0]], network[reader.name]
        got = codes[after.name] * after.scale - codes[before.name] * before.scale
        unit = after.scale
    else:
        got, unit = codes[node.name] * network[node.name].scale, network[node.name].scale
    assert (np.abs(got - bias) <= 0.51 * unit).all()


BITS = [
    (8, 8), (8, 6), (4, 8), (6, 6), (5, 5),
    (4, 4), (2, 2),
]  # fmt: skip


@pytest.mark.parametrize(("weight_bits", "activation_bits"), BITS)
def test_weights_are_rounded_and_never_clipped(weight_bits: int, activation_bits: int) -> None:
    graph = random_llama(1)
    chosen = Settings(weight_bits, activation_bits)
    network = quantize(graph, ONE_SEQUENCE, chosen)
    maps = {node.name: node for node in graph.nodes}
    seen = 0
    for projection in network.projections:
        if not isinstance(projection.synapse, Dense | Packed):
            continue
        source, target = network[projection.source], network[projection.target]
        name = target.name.replace(".attended", ".attention_out").replace(".fed", ".feed_out")
        operation = maps[name].operation
        assert isinstance(operation, Linear | Embedding)
        weight = operation.weight if isinstance(operation, Linear) else operation.weight.T
        theta = getattr(target.neuron, "theta", 1)
        unit = target.scale / theta * projection.synapse.gain  # what one unit of a weight is worth
        wanted = weight.T.astype(np.float64) * source.scale[:, None]
        assert (np.abs(projection.synapse.matrix * unit - wanted) <= 0.5001 * unit).all(), name
        largest = np.abs(projection.synapse.matrix).max()
        high = 2 ** (chosen.weight_bits - 1) - 1
        assert high / 2 < largest <= high, name  # the bits are used
        seen += 1
    assert seen == sum(isinstance(node.operation, Linear | Embedding) for node in graph.nodes)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), BITS)
def test_fewer_bits_give_a_valid_network(weight_bits: int, activation_bits: int) -> None:
    network = quantize(random_llama(1), ONE_SEQUENCE, Settings(weight_bits, activation_bits))
    high = 2 ** (activation_bits - 1) - 1
    for projection in network.projections:
        if isinstance(projection.synapse, Dense | Packed) and projection.source != "token":
            assert network[projection.source].neuron.range == (-high, high)
    assert snngen.certify(network, list(range(CONTEXT - 1))).clean


def test_each_bit_less_is_noisier() -> None:
    graph = random_llama(1)
    means = []
    for bits in (8, 7, 6, 5):
        noise = decibels(graph, quantize(graph, random_tokens(3), Settings(bits, bits)))
        means.append(float(np.mean(list(noise.values()))))
    steps = -np.diff(means)
    assert (steps > 2).all(), means  # in theory 6 dB a bit
    assert (steps < 10).all(), means


def test_wide_codes_are_worth_their_bits() -> None:
    graph = random_llama(1)
    wide, narrow = (decibels(graph, quantize(graph, random_tokens(3), Settings(wide_bits=bits))) for bits in (11, 8))
    for name in ("layer0.query", "layer0.gate", "layer0.up", "layer0.gated"):
        assert wide[name] > narrow[name] + 1, name


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    weights=st.floats(-6, 6),
    biases=st.floats(-6, 6),
    norms=st.floats(-4, 4),
    weight_bits=st.integers(2, 8),
    activation_bits=st.integers(6, 8),
)
@example(seed=0, weights=-6, biases=6, norms=0, weight_bits=8, activation_bits=8)
def test_whatever_is_built_holds_its_integers(
    seed: int, weights: float, biases: float, norms: float, weight_bits: int, activation_bits: int
) -> None:
    """Weights and biases of any size: refused, or int32 is enough, as the int64 of the reference confirms."""
    graph = random_llama(seed, layers=1)
    for index, node in enumerate(graph.nodes):
        operation = node.operation
        if node.name.endswith(("query", "key")):
            continue  # softmax refuses what is much larger
        if isinstance(operation, Linear):
            assert operation.bias is not None
            scaled: Operation = Linear(
                operation.weight * np.float32(10**weights), operation.bias * np.float32(10**biases)
            )
        elif isinstance(operation, RMSNorm) and node.name != "layer0.norm":
            scaled = RMSNorm(operation.weight * np.float32(10**norms), operation.epsilon)
        else:
            continue
        graph.nodes[index] = replace(node, operation=scaled)
    try:
        network = quantize(graph, ONE_SEQUENCE, Settings(weight_bits, activation_bits))
    except SnngenError:
        return
    assert snngen.certify(network, list(range(CONTEXT - 1))).clean


FAN_IN = 140_000  # 127 * 127 * so many is beyond int32


def fan_in(signs: Floats) -> Graph:
    """Equal codes of many neurons meet in one neuron, by weights that differ only in sign."""
    graph, inputs = Graph(3, 4), len(signs)
    row = np.ones(2, np.float32)
    stream = graph.add("embedding", Embedding(np.float32([[1, 2], [2, 1], [1, 1]])), "tokens")
    normed = graph.add("norm", RMSNorm(row, 1e-5), stream)
    gate = graph.add("gate", Linear(np.tile(row, (inputs, 1))), normed)
    up = graph.add("up", Linear(np.tile(row, (inputs, 1))), normed)
    gated = graph.add("gated", Gate("silu"), gate, up)
    out = graph.add("out", Linear(np.stack((signs, -signs))), gated)
    graph.add("logits", Linear(np.float32([[1, 0], [0, 1], [1, 1]])), out)
    return graph


def test_a_drive_that_could_go_beyond_int32_is_refused_and_fewer_bits_mend_it() -> None:
    """The signs cancel, so thresholds are low and weights high; but the drive may not count on that."""
    graph = fan_in(np.random.default_rng(0).choice(np.float32([-1, 1]), FAN_IN))
    with pytest.raises(NetworkError, match=rf"{127 * 127 * FAN_IN}; expected at most 2147483647.*fewer bits"):
        quantize(graph, np.array([[0, 1, 2, 1]]))
    network = quantize(graph, np.array([[0, 1, 2, 1]]), Settings(weight_bits=4))
    assert snngen.certify(network, [0, 1, 2]).clean


def test_a_drive_that_adds_up_is_held_in_int32() -> None:
    graph = fan_in(np.ones(FAN_IN, np.float32))
    network = quantize(graph, np.array([[0, 1, 2, 1]]))
    assert snngen.certify(network, [0, 1, 2]).clean
    noise = {layer.population: layer.decibels for layer in layer_noise(graph, network, [[0, 1, 2]])}
    assert noise["out"] > 25


def test_the_same_in_gives_the_same_out() -> None:
    first, second = (quantize(random_llama(4), random_tokens(2)) for _ in range(2))
    assert first.digest == second.digest
    assert first.provenance == second.provenance
    assert quantize(random_llama(4), random_tokens(2, seed=1)).digest != first.digest


def test_an_operation_that_is_not_carried_is_named() -> None:
    class Convolution(Operation):
        def run(self, inputs: list[Floats], start: int, memory: Cache) -> Floats:
            return inputs[0]

    graph = random_llama(0, layers=1)
    graph.add("strange", Convolution(), "layer0.fed")
    with pytest.raises(UnsupportedError, match=r"got strange \(Convolution\)"):
        quantize(graph, ONE_SEQUENCE)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.arange(4), r"shape \(4,\)"),
        (np.zeros((0, 4), np.int64), r"shape \(0, 4\)"),
        (np.zeros((2, CONTEXT + 1), np.int64), f"up to {CONTEXT} tokens"),
        (np.zeros((1, 4)), "of float64"),
        (np.array([[0, VOCABULARY]]), rf"tokens 0\.\.{VOCABULARY}; expected 0\.\.{VOCABULARY - 1}"),
        (np.array([[-1, 0]]), r"tokens -1\.\.0"),
    ],
)
def test_unusable_calibration_is_refused(tokens: np.ndarray, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        quantize(random_llama(0, layers=1), tokens)


@pytest.mark.parametrize("name", ["weight_bits", "activation_bits", "wide_bits", "probability_bits"])
@pytest.mark.parametrize("bits", [1, 0, 13])
def test_unusable_settings_are_refused(name: str, bits: int) -> None:
    with pytest.raises(UnsupportedError, match=rf"Settings\.{name}: got {bits}; expected 2\.\."):
        Settings(**{name: bits})


def looking_back(*reads: str, stream: bool) -> Graph:
    """A value whose channels have scales of their own, read by tables as in `reads`, now or one token later."""
    rng, graph = np.random.default_rng(5), Graph(0, None, channels=5)
    weight = rng.standard_normal((6, 5)).astype(np.float32) * np.geomspace(0.1, 10, 6, dtype=np.float32)[:, None]
    graph.add("x", Linear(weight), "input")
    if stream:
        graph.add("map", Linear(weight[::-1].copy()), "input")
        graph.add("stream", Add(), "x", "map")
    value = "stream" if stream else "x"
    for number, read in enumerate(reads):
        graph.add(f"table{number}", Pointwise("tanh"), read + value)
    tables = [f"table{number}" for number in range(len(reads))]
    graph.add("y", Linear(rng.standard_normal((4, 6 * len(reads) + 6)).astype(np.float32)), *tables, value)
    return graph


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reads", [("~", ""), ("", "~"), ("~",)])
def test_tables_read_the_token_that_they_say(reads: tuple[str, ...], stream: bool) -> None:
    graph = looking_back(*reads, stream=stream)
    draws = np.random.default_rng(6).standard_normal((4, 24, 5)).astype(np.float32)
    network = quantize(graph, draws[:3])
    codes = picture.encode(network, draws[3])
    got = reference.run(network, {"input": codes})["y"] * network["y"].scale
    expected = graph.run(draws[3:])[0]
    assert 10 * np.log10((expected**2).sum() / ((got - expected) ** 2).sum()) > 20
    assert snngen.certify(network, codes).clean


def recurrent(coarse: bool, staged: bool = False) -> Graph:
    """Codes that cancelling weights make coarse, or a sum, read one token later, perhaps behind a stage of codes."""
    rng, graph = np.random.default_rng(7), Graph(0, None, channels=5)
    weight = rng.standard_normal((6, 11)).astype(np.float32) * 0.2
    if coarse:
        graph.add("twice", Linear(np.eye(5, dtype=np.float32)[[0, 0, 2, 3, 4]]), "input")
        weight[:, :2] = [[300, -300]]
        graph.add("h", Linear(weight), "twice", "~h")
    else:
        graph.add("x", Linear(weight[:, :5]), "input")
        graph.add("map", Linear(weight[:, 5:]), "~codes" if staged else "~h")
        graph.add("h", Add(), "x", "map")
    if staged:
        graph.add("codes", Scale((np.ones(6, np.float32),)), "h")
    graph.add("y", Linear(rng.standard_normal((4, 6)).astype(np.float32)), "h")
    return graph


@pytest.mark.parametrize(
    ("coarse", "message"), [(False, "node h: got a sum"), (True, "node h: got weights that cancel")]
)
def test_what_is_read_before_it_is_built_has_to_be_what_was_expected(coarse: bool, message: str) -> None:
    draws = np.random.default_rng(8).standard_normal((3, 24, 5)).astype(np.float32)
    with pytest.raises(UnsupportedError, match=message):
        quantize(recurrent(coarse), draws)


def test_a_sum_is_read_one_token_later_through_a_stage_of_codes() -> None:
    draws = np.random.default_rng(8).standard_normal((3, 24, 5)).astype(np.float32)
    graph = recurrent(coarse=False, staged=True)
    network = quantize(graph, draws)
    got = reference.run(network, {"input": picture.encode(network, draws[0])})["y"] * network["y"].scale
    expected = graph.run(draws[:1])[0]
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()
