"""Pruning: what is zero stays zero, what is removed is gone, and what is left says as much as it can."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import HIDDEN, float_graph, random_llama, random_tokens

import snngen
from snngen.converters.compensation import divergence, log_softmax
from snngen.converters.convert import convert_graph
from snngen.converters.dequantize import dequantize
from snngen.converters.graph import Graph
from snngen.converters.operations import Convolution, Linear
from snngen.converters.pruning import (
    Pruning,
    hessians,
    hidden_layers,
    linear_maps,
    prune_neurons,
    prune_weights,
    pruning_table,
    refitted,
)
from snngen.converters.quantize import Settings, quantize
from snngen.errors import UnsupportedError
from snngen.synapses.sparse import Sparse


def weights(graph: Graph) -> dict[str, np.ndarray]:
    return {node.name: node.operation.weight for node in linear_maps(graph) if isinstance(node.operation, Linear)}


def test_the_largest_of_every_row_stay() -> None:
    graph = random_llama(1)
    before, after = weights(graph), weights(prune_weights(graph, 0.5))
    for name, weight in after.items():
        stays = weight != 0
        assert (stays.sum(axis=1) == weight.shape[1] // 2).all()
        assert np.array_equal(weight[stays], before[name][stays])
        for row, kept in zip(np.abs(before[name]), stays, strict=True):
            assert row[kept].min() >= row[~kept].max()


def test_two_of_every_four_stay() -> None:
    for weight in weights(prune_weights(random_llama(2), (2, 4))).values():
        assert (np.count_nonzero(weight.reshape(len(weight), -1, 4), axis=2) == 2).all()


def test_refitting_is_the_least_squares() -> None:
    """No other weights in the same places give less error; with the mask of all, nothing changes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 10)) + 0.2 * rng.normal(size=(300, 10))
    weight, mask, hessian = rng.normal(size=(5, 10)), rng.random((5, 10)) < 0.6, x.T @ x / 300
    fitted = refitted(weight, mask, hessian)
    assert not fitted[~mask].any()
    error = ((x @ (weight - fitted).T) ** 2).sum()
    assert error < 0.7 * ((x @ (weight * ~mask).T) ** 2).sum()
    for _ in range(20):
        other = fitted + 0.05 * rng.normal(size=weight.shape) * mask
        assert ((x @ (weight - other).T) ** 2).sum() > error
    np.testing.assert_allclose(refitted(weight, np.ones_like(mask), hessian), weight, atol=1e-9)


def test_hessians_are_of_the_inputs() -> None:
    graph, tokens = random_llama(3), random_tokens(3)
    inputs = graph.observe(tokens)["layer1.gated"].reshape(-1, HIDDEN).astype(np.float64)
    np.testing.assert_allclose(hessians(graph, tokens)["layer1.feed_out"], inputs.T @ inputs / len(inputs))


def test_hidden_layers_are_those_of_the_mlps() -> None:
    found = hidden_layers(random_llama(4))
    assert [(layer.before, layer.between, layer.after) for layer in found] == [
        ((f"layer{n}.gate", f"layer{n}.up"), (f"layer{n}.gated",), (f"layer{n}.feed_out",)) for n in range(2)
    ]


def test_removed_neurons_are_gone() -> None:
    graph, tokens = random_llama(5), random_tokens(4)
    pruned = prune_neurons(graph, 0.25, tokens)
    for name, weight in weights(pruned).items():
        kind = name.split(".")[-1]
        if kind in ("gate", "up"):
            assert weight.shape[0] == HIDDEN // 4
        elif kind == "feed_out":
            assert weight.shape[1] == HIDDEN // 4
        else:
            assert weight.shape == weights(graph)[name].shape
    network = quantize(pruned, tokens)
    assert network["layer0.gated"].size == HIDDEN // 4
    assert snngen.certify(network, tokens[0].tolist()).clean


def test_a_neuron_that_says_nothing_is_the_first_to_go() -> None:
    graph, tokens = random_llama(6, layers=1, biased=False), random_tokens(4)
    for name, axis in (("layer0.up", 0), ("layer0.feed_out", 1)):
        weight = graph.node(name).operation.weight  # type: ignore[attr-defined]
        np.moveaxis(weight, axis, 0)[7] = 0
    pruned = prune_neurons(graph, 1 - 1 / HIDDEN, tokens, refit=False)
    expected, got = graph.run(tokens), pruned.run(tokens)
    assert weights(pruned)["layer0.up"].shape[0] == HIDDEN - 1
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_few_synapses_are_stored_by_row_and_take_fewer_bytes() -> None:
    graph, tokens = prune_weights(random_llama(7), 0.2), random_tokens(2)
    network, dense = quantize(graph, tokens), quantize(graph, tokens, Settings(sparse_below=0.0))
    maps = len(linear_maps(graph))
    sparse = [p.synapse for p in network.projections if isinstance(p.synapse, Sparse)]
    assert 0 < len(sparse) <= maps
    assert not [p for p in dense.projections if isinstance(p.synapse, Sparse)]
    bytes_of = [sum(p.synapse.weight_bytes for p in which.projections) for which in (network, dense)]
    assert bytes_of[0] < bytes_of[1]
    always = quantize(graph, tokens, Settings(sparse_below=1.0))
    assert len([p for p in always.projections if isinstance(p.synapse, Sparse)]) >= maps
    line = tokens[0].tolist()
    engines = [snngen.SettledEngine(which) for which in (network, dense, always)]
    for token in line:
        for engine in engines:
            engine.step(token)
        assert all(np.array_equal(engine.output, engines[0].output) for engine in engines)
    operations = [engine.counted()[1][:, 1].sum() for engine in engines]
    assert operations[2] <= operations[0] < operations[1]
    assert snngen.certify(network, line).clean


def test_the_table_says_what_is_kept_and_lost(stories_graph: Graph) -> None:
    tokens, held_out = stories_graph.sample(8, 256, 0), stories_graph.sample(4, 256, 1)
    pruned = {
        "half": prune_weights(stories_graph, 0.5, tokens),
        "half, refitted": prune_weights(stories_graph, 0.5, tokens, refit=True),
        "magnitude": prune_weights(stories_graph, 0.5),
        "2:4, refitted": prune_weights(stories_graph, (2, 4), tokens, refit=True),
        "3/4 of the neurons": prune_neurons(stories_graph, 0.75, tokens),
    }
    rows = {row.kept: row for row in pruning_table(stories_graph, pruned, held_out)}
    assert rows["all"].divergence == 0
    assert rows["half"].synapses == pytest.approx(rows["all"].synapses / 2, rel=0.01)
    assert rows["half, refitted"].divergence < rows["half"].divergence < rows["magnitude"].divergence
    assert rows["half, refitted"].divergence < rows["2:4, refitted"].divergence
    expected = log_softmax(stories_graph.run(held_out))
    assert rows["half"].divergence == pytest.approx(divergence(expected, pruned["half"].run(held_out)))


def test_what_cannot_be_pruned_is_refused() -> None:
    graph = random_llama(0)
    with pytest.raises(UnsupportedError, match=r"0\.\.1"):
        prune_weights(graph, 1.5)
    with pytest.raises(UnsupportedError, match="tokens"):
        prune_weights(graph, 0.5, refit=True)
    with pytest.raises(UnsupportedError, match="0 hidden layers"):
        prune_neurons(Graph(9, 9, graph.nodes[:3]), 0.5, random_tokens(1))


def test_what_pruning_does_not_reach_is_said() -> None:
    graph = Graph(0, None, channels=16)
    kernel = np.ones((4, 1, 3, 3), np.float32)
    graph.add("convolution", Convolution(kernel, None, (1, 4, 4)), "input")
    with pytest.raises(UnsupportedError, match="no linear map with float weights, but convolution"):
        prune_weights(graph, 0.5)
    graph.add("map", Linear(np.ones((3, 16), np.float32)), "convolution")
    pruned = prune_weights(graph, 0.5)
    assert np.count_nonzero(weights(pruned)["map"]) == 3 * 8
    assert pruned.notes[-1] == "not pruned (convolutions, integers of the source): convolution"


@pytest.mark.parametrize("kind", ["plain", "products"])
def test_codes_are_narrowed_with_their_neurons(kind: str) -> None:
    """A network, back to floats, pruned: what stays keeps the codes it had."""
    graph, tokens = float_graph(kind), np.random.default_rng(6).integers(12, size=(4, 16))
    coded = dequantize(quantize(graph, tokens))
    conversion = convert_graph(coded, tokens, pruning=Pruning(0.5, neurons=True))
    (layer,) = hidden_layers(coded)
    for name in (*layer.before, *layer.between):
        before, after = coded.node(name).codes, conversion.graph.node(name).codes
        if before is None:
            assert after is None
            continue
        assert after is not None
        assert (after.low, after.high) == (before.low, before.high)
        assert before.scale.size in (1, 24)
        assert after.scale.size == (1 if before.scale.size == 1 else 12)
        assert set(after.scale) <= set(before.scale)
    assert conversion.network[layer.between[0]].size == 12
    assert conversion.network.provenance["notes"][-1].endswith("of 1 layers of hidden neurons, 12 of 24 were kept")
    assert snngen.certify(conversion.network, tokens[0].tolist()).clean


@pytest.mark.parametrize(
    "kept",
    [1.5, -0.1, float("nan"), "0.5", None, [2, 4], (), (2, 4, 8), (1.5, 4), (4, 2), (2, 0), (-1, -2)],
)
def test_shares_that_are_none_are_refused(kept: object) -> None:
    for refused in (lambda: Pruning(kept), lambda: prune_weights(random_llama(0), kept)):  # type: ignore[arg-type]
        with pytest.raises(UnsupportedError, match=r"a share of 0\.\.1, or \(n, m\)") as caught:
            refused()
        assert caught.value.mend
    with pytest.raises(UnsupportedError, match="of the neurons; expected a share"):
        Pruning((2, 4), neurons=True)


def test_names_that_are_no_maps_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"got layer0\.norm, nowhere, which are none"):
        prune_weights(random_llama(0), 0.5, names=["layer0.norm", "nowhere", "layer0.up"])
