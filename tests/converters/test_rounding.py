"""Rounding: plain rounding is the nearest, compensated rounding loses less on the inputs that it was told of."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import CONTEXT, random_llama, random_tokens

import snngen
from snngen.converters.calibrate import calibrate
from snngen.converters.compensation import corrections
from snngen.converters.graph import Graph
from snngen.converters.operations import Embedding, Linear
from snngen.converters.quantize import Settings, quantize
from snngen.converters.rounding import compensated, nearest
from snngen.errors import UnsupportedError
from snngen.likelihood import nats_per_token
from snngen.synapses.dense import Dense
from snngen.synapses.packed import Packed


def problem(seed: int, inputs: int = 24, outputs: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the Hessian of inputs that go together."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 6)) @ rng.normal(size=(6, inputs)) + 0.3 * rng.normal(size=(400, inputs))
    return rng.normal(size=(outputs, inputs)), x.T @ x / 400


def cost(weight: np.ndarray, rounded: np.ndarray, hessian: np.ndarray) -> float:
    error = weight - rounded
    return float(np.einsum("oi,ij,oj->", error, hessian, error))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_nearest_is_the_nearest(bits: int) -> None:
    weight, _ = problem(bits)
    rounded = nearest(weight, bits)
    high = 2 ** (bits - 1) - 1
    assert (np.abs(rounded.weight - weight) <= 0.5000001 * rounded.unit[:, None]).all()
    assert np.array_equal(np.abs(rounded.matrix).max(axis=1), np.full(len(weight), high))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_compensated_loses_less_than_half(bits: int, seed: int) -> None:
    weight, hessian = problem(seed)
    plain, better = nearest(weight, bits), compensated(weight, hessian, bits)
    assert cost(weight, better.weight, hessian) < 0.5 * cost(weight, plain.weight, hessian)
    low = -1 if bits == 2 else -(2 ** (bits - 1))
    assert low <= better.matrix.min() <= better.matrix.max() <= 2 ** (bits - 1) - 1


def test_without_correlation_only_the_unit_is_chosen() -> None:
    """A diagonal Hessian leaves nothing to spread: each weight goes to its nearest code."""
    weight, _ = problem(3)
    for hessian in (np.eye(24), np.ones(24)):
        rounded = compensated(weight, hessian, 4)
        expected = np.clip(np.rint(weight / rounded.unit[:, None]), -8, 7)
        assert np.array_equal(rounded.matrix, expected)
        assert cost(weight, rounded.weight, np.eye(24)) <= cost(weight, nearest(weight, 4).weight, np.eye(24))


def test_units_are_multiples_of_the_grain() -> None:
    weight, hessian = problem(5)
    for rounded in (nearest(weight, 4, 0.01), compensated(weight, hessian, 4, 0.01)):
        counts = rounded.unit / 0.01
        np.testing.assert_allclose(counts, np.rint(counts), rtol=1e-9)


def test_a_dead_input_and_a_row_of_zeros_do_no_harm() -> None:
    weight, hessian = problem(6)
    hessian[3] = hessian[:, 3] = 0
    weight[2] = 0
    rounded = compensated(weight, hessian, 4)
    assert np.isfinite(rounded.unit).all()
    assert not rounded.matrix[2].any()


def test_every_map_is_corrected_and_fine_weights_less_than_coarse_ones() -> None:
    graph, tokens = random_llama(1), random_tokens(24)
    maps = {n.name: n.operation for n in graph.nodes if isinstance(n.operation, Linear | Embedding)}
    changes = {}
    for bits in (8, 4):
        settings = Settings(bits, bits)
        found = corrections(graph, calibrate(graph, tokens[:2], settings), tokens, settings)
        assert set(found) == set(maps)
        for name, operation in maps.items():
            weight = operation.weight.T if isinstance(operation, Embedding) else operation.weight
            changes[name, bits] = float(np.abs(found[name].weight - weight).mean() / np.abs(weight).mean())
    assert changes["embedding", 4] == 0  # rows of weights: nothing comes before them
    for name in maps.keys() - {"embedding"}:
        assert 0 < 2 * changes[name, 8] < changes[name, 4], (name, changes)


@pytest.mark.parametrize("bits", [4, 2])
def test_networks_of_few_bits_are_packed_and_certified(bits: int) -> None:
    graph, tokens = random_llama(2), random_tokens(6)
    network = quantize(graph, tokens, Settings(bits, rounding="compensated"))
    wide = quantize(graph, tokens)
    kinds = [p.synapse.kind for p in network.projections]
    assert kinds.count("packed") == [p.synapse.kind for p in wide.projections].count("dense")
    assert "dense" not in kinds
    packed = sum(p.synapse.weight_bytes for p in network.projections if isinstance(p.synapse, Packed))
    assert packed <= bits / 8 * 1.1 * sum(
        p.synapse.weight_bytes for p in wide.projections if isinstance(p.synapse, Dense)
    )
    assert snngen.certify(network, list(range(CONTEXT - 1))).clean


def test_compensated_networks_say_more_of_what_the_model_says() -> None:
    graph, tokens, held_out = random_llama(3, biased=False), random_tokens(24), random_tokens(8, seed=99)
    expected = graph.run(held_out)[:, -1]
    errors = {}
    for rounding in ("nearest", "compensated"):
        network = quantize(graph, tokens, Settings(4, rounding=rounding))
        got = []
        for sequence in held_out:
            engine = snngen.SettledEngine(network)
            for token in sequence:
                engine.step(int(token))
            got.append(engine.output * network[network.output].scale)
        errors[rounding] = float(((np.array(got) - expected) ** 2).mean())
    assert errors["compensated"] < 0.8 * errors["nearest"], errors


def test_a_real_model_loses_less_than_a_third_of_what_plain_rounding_loses(stories_graph: Graph) -> None:
    """W4A8 on stories260K: 24 sequences that the model sampled, measured on 20 others."""
    calibration, held_out = stories_graph.sample(24, 256, 0), stories_graph.sample(20, 256, 1)
    logits = stories_graph.run(held_out)[:, :-1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    said = np.take_along_axis(logits, held_out[:, 1:, None], axis=-1)[..., 0]
    float_nats = float((np.log(np.exp(logits).sum(axis=-1)) - said).mean())
    losses = {}
    for rounding, tokens in (("nearest", calibration[:5]), ("compensated", calibration)):
        network = quantize(stories_graph, tokens, Settings(4, rounding=rounding))
        nats = nats_per_token(network, [(sequence, 1) for sequence in held_out.tolist()])
        losses[rounding] = np.exp(nats) - np.exp(float_nats)
    assert 0 < losses["compensated"] < losses["nearest"] / 3, losses


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="rounding"):
        Settings(rounding="up")
    with pytest.raises(UnsupportedError, match=r"2\.\.8"):
        Settings(bits={"layer0.up": 9})
    with pytest.raises(UnsupportedError, match="no_such_layer"):
        quantize(random_llama(0), random_tokens(1), Settings(bits={"no_such_layer": 4}))
